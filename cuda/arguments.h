// SPDX-License-Identifier: Apache-2.0
// What the kernels are given. Strides are in numbers; those of a head lie side by side. Plain types, so that neither
// nvcc sees LibTorch's headers nor the tests CUDA's.
#pragma once

#include <cstdint>

namespace dualparal::kernels {

enum class Number { kFp32, kBf16, kFp16 };

/// Where the tokens of a tensor lie.
struct Rows {
  int64_t batch_stride, token_stride;
};

struct NormRotary {
  Number number;  ///< of x, out and weight
  int64_t batch, tokens;
  int count, head_dim;  ///< numbers of a token, and of one of its heads
  const void* x;
  void* out;  ///< may be x
  Rows x_rows, out_rows;
  const void* weight;  ///< [count]; null: nothing to normalise
  float eps;
  const float *cos, *sin;  ///< [tokens, head_dim / 2]; null: nothing to rotate
};

struct ModulatedNorm {
  Number number;  ///< of x and out
  int64_t batch, tokens;
  int count, group_tokens;  ///< numbers of a token; tokens that share scale and shift
  const void* x;
  void* out;
  Rows x_rows, out_rows;
  const float *scale, *shift;  ///< [groups, count]
  float eps;
};

struct AddGated {
  Number number;  ///< of x and y
  int64_t batch, tokens;
  int count, group_tokens;
  void* x;
  const void* y;
  Rows x_rows, y_rows;
  const float* gate;  ///< [groups, count]
};

struct MergeAttention {
  Number number;  ///< of part
  int64_t batch, tokens;
  int heads, head_dim;
  float *output, *weight;
  const void* part;
  const float* part_weight;
  Rows output_rows, weight_rows, part_rows, part_weight_rows;
  int64_t output_head, weight_head, part_head, part_weight_head;  ///< strides of heads
};

}  // namespace dualparal::kernels
