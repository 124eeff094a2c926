// SPDX-License-Identifier: Apache-2.0
// The kernels' arguments from tensors: for the module and for the tests, which run the same lanes on a CPU. Tensors are
// as the kernels read them (what is small contiguous and in fp32), and outlive the launch.
#pragma once

#include <ATen/ATen.h>

#include "cuda/arguments.h"

namespace dualparal::kernels {

inline Number number_of(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat:
      return Number::kFp32;
    case at::kBFloat16:
      return Number::kBf16;
    case at::kHalf:
      return Number::kFp16;
    default:
      TORCH_CHECK(false, "kernels: expected fp32, bf16 or fp16, got ", x.scalar_type());
  }
}

inline Rows rows_of(const at::Tensor& x) { return {x.stride(0), x.stride(1)}; }

/// Numbers of a token of [batch, tokens, heads, head_dim] or [batch, tokens, dim].
inline int count_of(const at::Tensor& x) { return static_cast<int>(x.dim() == 4 ? x.size(2) * x.size(3) : x.size(2)); }

/// x, out: [batch, tokens, heads, head_dim]. weight: [heads * head_dim] in x's dtype; undefined: nothing to normalise.
/// cos, sin: [tokens, head_dim / 2] fp32; undefined: nothing to rotate.
inline NormRotary norm_rotary_arguments(const at::Tensor& x, const at::Tensor& weight, double eps,
                                        const at::Tensor& cos, const at::Tensor& sin, const at::Tensor& out) {
  return {.number = number_of(x),
          .batch = x.size(0),
          .tokens = x.size(1),
          .count = count_of(x),
          .head_dim = static_cast<int>(x.size(-1)),
          .x = x.const_data_ptr(),
          .out = out.mutable_data_ptr(),
          .x_rows = rows_of(x),
          .out_rows = rows_of(out),
          .weight = weight.defined() ? weight.const_data_ptr() : nullptr,
          .eps = static_cast<float>(eps),
          .cos = cos.defined() ? cos.const_data_ptr<float>() : nullptr,
          .sin = sin.defined() ? sin.const_data_ptr<float>() : nullptr};
}

/// x, out: [batch, tokens, dim]; scale, shift: [groups, dim] fp32.
inline ModulatedNorm modulated_norm_arguments(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift,
                                              double eps, const at::Tensor& out) {
  return {.number = number_of(x),
          .batch = x.size(0),
          .tokens = x.size(1),
          .count = count_of(x),
          .group_tokens = static_cast<int>(x.size(1) / scale.size(0)),
          .x = x.const_data_ptr(),
          .out = out.mutable_data_ptr(),
          .x_rows = rows_of(x),
          .out_rows = rows_of(out),
          .scale = scale.const_data_ptr<float>(),
          .shift = shift.const_data_ptr<float>(),
          .eps = static_cast<float>(eps)};
}

/// x, y: [batch, tokens, dim] of one dtype; gate: [groups, dim] fp32.
inline AddGated add_gated_arguments(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  return {.number = number_of(x),
          .batch = x.size(0),
          .tokens = x.size(1),
          .count = count_of(x),
          .group_tokens = static_cast<int>(x.size(1) / gate.size(0)),
          .x = x.mutable_data_ptr(),
          .y = y.const_data_ptr(),
          .x_rows = rows_of(x),
          .y_rows = rows_of(y),
          .gate = gate.const_data_ptr<float>()};
}

/// output: [batch, tokens, heads, head_dim] fp32; part: the same, of any dtype; the weights [batch, tokens, heads, 1]
/// fp32.
inline MergeAttention merge_attention_arguments(const at::Tensor& output, const at::Tensor& weight,
                                                const at::Tensor& part, const at::Tensor& part_weight) {
  return {.number = number_of(part),
          .batch = output.size(0),
          .tokens = output.size(1),
          .heads = static_cast<int>(output.size(2)),
          .head_dim = static_cast<int>(output.size(3)),
          .output = output.mutable_data_ptr<float>(),
          .weight = weight.mutable_data_ptr<float>(),
          .part = part.const_data_ptr(),
          .part_weight = part_weight.const_data_ptr<float>(),
          .output_rows = rows_of(output),
          .weight_rows = rows_of(weight),
          .part_rows = rows_of(part),
          .part_weight_rows = rows_of(part_weight),
          .output_head = output.stride(2),
          .weight_head = weight.stride(2),
          .part_head = part.stride(2),
          .part_weight_head = part_weight.stride(2)};
}

}  // namespace dualparal::kernels
