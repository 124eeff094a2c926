// SPDX-License-Identifier: Apache-2.0
// CPU kernels: a row is widened to fp32 in a buffer that stays in the first-level cache, worked on, and narrowed.
// ATen makes one pass over memory per operation, ours one in all; the compiler makes the vector code.
#include "model/ops/ops.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <cstring>

// One version per instruction set, chosen when the program starts. Sanitizers cannot follow that choice.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define DUALPARAL_SIMD \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3", "fast-math")))
#else
#define DUALPARAL_SIMD
#endif

namespace dualparal::cpu {
namespace {

// fast-math lets the compiler split this sum over vector lanes; nothing here depends on infinities or NaN order.
DUALPARAL_SIMD void normalise_row(float* x, const float* weight, int64_t count, float eps) {
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += x[i] * x[i];
  const float scale = 1.0f / std::sqrt(sum / static_cast<float>(count) + eps);
  for (int64_t i = 0; i < count; ++i) x[i] = x[i] * scale * weight[i];
}

DUALPARAL_SIMD void rotate_row(float* x, const float* cos, const float* sin, int64_t heads, int64_t pairs) {
  for (int64_t head = 0; head < heads; ++head) {
    float* pair = x + head * pairs * 2;
    for (int64_t i = 0; i < pairs; ++i) {
      const float even = pair[2 * i], odd = pair[2 * i + 1];
      pair[2 * i] = even * cos[i] - odd * sin[i];
      pair[2 * i + 1] = even * sin[i] + odd * cos[i];
    }
  }
}

DUALPARAL_SIMD void add_gated_row(float* x, const float* y, const float* gate, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] += y[i] * gate[i];
}

DUALPARAL_SIMD void widen(const uint16_t* from, float* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = static_cast<uint32_t>(from[i]) << 16;
    std::memcpy(&to[i], &bits, 4);
  }
}

// Round to nearest even, as the hardware does. A NaN's payload could round up to infinity: keep it quiet instead.
DUALPARAL_SIMD void narrow(const float* from, uint16_t* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, &from[i], 4);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    to[i] = static_cast<uint16_t>(is_nan ? (bits >> 16) | 0x40u : rounded);
  }
}

// Calls work(row in fp32, row number) for every row of `count` numbers and stores what it leaves there.
template <class Work>
void for_each_row(at::Tensor& x, int64_t batch, int64_t tokens, int64_t count, const Work& work) {
  const int64_t batch_stride = x.stride(0), token_stride = x.stride(1);
  const bool wide = x.scalar_type() == at::kFloat;
  void* data = x.mutable_data_ptr();
  const int64_t grain = std::max<int64_t>(1, 16384 / count);
  at::parallel_for(0, batch * tokens, grain, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(wide ? 0 : count);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t offset = row / tokens * batch_stride + row % tokens * token_stride;
      if (wide) {
        work(static_cast<float*>(data) + offset, row);
      } else {
        uint16_t* narrow_row = static_cast<uint16_t*>(data) + offset;
        widen(narrow_row, buffer.data(), count);
        work(buffer.data(), row);
        narrow(buffer.data(), narrow_row, count);
      }
    }
  });
}

}  // namespace

void rms_norm_(at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide_weight = weight.to(at::kFloat).contiguous();
  const float* scale = wide_weight.const_data_ptr<float>();
  const int64_t dim = x.size(2);
  for_each_row(x, x.size(0), x.size(1), dim,
               [&](float* row, int64_t) { normalise_row(row, scale, dim, static_cast<float>(eps)); });
}

void apply_rotary_(at::Tensor& x, const RotaryTable& table) {
  const int64_t tokens = x.size(1), heads = x.size(2), pairs = x.size(3) / 2;
  TORCH_INTERNAL_ASSERT(x.stride(2) == x.size(3), "heads of a token must lie side by side");
  const at::Tensor cos_table = table.cos.contiguous(), sin_table = table.sin.contiguous();
  const float* cos = cos_table.const_data_ptr<float>();
  const float* sin = sin_table.const_data_ptr<float>();
  for_each_row(x, x.size(0), tokens, heads * pairs * 2, [&](float* row, int64_t index) {
    rotate_row(row, cos + index % tokens * pairs, sin + index % tokens * pairs, heads, pairs);
  });
}

void add_gated_(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  const int64_t tokens = x.size(1), dim = x.size(2);
  const int64_t group_tokens = tokens / gate.size(0);
  const at::Tensor gates = gate.to(at::kFloat).contiguous();
  const float* gate_data = gates.const_data_ptr<float>();
  const bool wide = y.scalar_type() == at::kFloat;
  const void* data = y.const_data_ptr();
  for_each_row(x, x.size(0), tokens, dim, [&](float* row, int64_t index) {
    const float* row_gate = gate_data + index % tokens / group_tokens * dim;
    if (wide) {
      add_gated_row(row, static_cast<const float*>(data) + index * dim, row_gate, dim);
    } else {
      thread_local std::vector<float> buffer;
      buffer.resize(dim);
      widen(static_cast<const uint16_t*>(data) + index * dim, buffer.data(), dim);
      add_gated_row(row, buffer.data(), row_gate, dim);
    }
  });
}

}  // namespace dualparal::cpu
