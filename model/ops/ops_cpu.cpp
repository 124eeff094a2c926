// SPDX-License-Identifier: Apache-2.0
// CPU kernels: a row is widened to fp32 in a buffer that stays in the first-level cache, worked on, and narrowed.
// ATen makes one pass over memory per operation, ours one in all; the compiler makes the vector code.
#include <ATen/Parallel.h>

#include <cmath>
#include <cstring>

#include "base/errors.h"
#include "model/ops/ops.h"
#include "model/ops/row_math.h"

// One version per instruction set, chosen when the program starts. Sanitizers cannot follow that choice.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define DUALPARAL_SIMD \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3", "fast-math")))
#else
#define DUALPARAL_SIMD
#endif

namespace dualparal::cpu {
namespace {

// fast-math lets the compiler split sums over vector lanes; nothing here depends on infinities or NaN order.
DUALPARAL_SIMD void normalise_row(const float* x, const float* weight, float* out, int64_t count, float eps) {
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += x[i] * x[i];
  const float inverse = row::inverse_root(sum, count, eps);
  for (int64_t i = 0; i < count; ++i) out[i] = row::normalised(x[i], inverse, weight[i]);
}

DUALPARAL_SIMD void rotate_row(float* x, const float* cos, const float* sin, int64_t heads, int64_t pairs) {
  for (int64_t head = 0; head < heads; ++head) {
    float* channels = x + head * pairs * 2;
    for (int64_t i = 0; i < pairs; ++i) {
      const row::Pair turned = row::rotated({channels[2 * i], channels[2 * i + 1]}, cos[i], sin[i]);
      channels[2 * i] = turned.even;
      channels[2 * i + 1] = turned.odd;
    }
  }
}

DUALPARAL_SIMD void modulate_row(const float* x, const float* scale, const float* shift, float* out, int64_t count,
                                 float eps) {
  float sum = 0, squares = 0;
  for (int64_t i = 0; i < count; ++i) sum += x[i];
  const float mean = sum / static_cast<float>(count);
  for (int64_t i = 0; i < count; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const float inverse = row::inverse_root(squares, count, eps);
  for (int64_t i = 0; i < count; ++i) out[i] = row::modulated(x[i], mean, inverse, scale[i], shift[i]);
}

DUALPARAL_SIMD void add_gated_row(float* x, const float* y, const float* gate, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = row::gated(x[i], y[i], gate[i]);
}

DUALPARAL_SIMD void mix_row(float* old, const float* added, float share, int64_t count) {
  for (int64_t i = 0; i < count; ++i) old[i] = row::mixed(old[i], added[i], share);
}

DUALPARAL_SIMD void widen(const c10::BFloat16* from, float* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = static_cast<uint32_t>(from[i].x) << 16;
    std::memcpy(&to[i], &bits, 4);
  }
}
void widen(const c10::Half* from, float* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i];
}

// Round to nearest even, as the hardware does. A NaN's payload could round up to infinity: keep it quiet instead.
DUALPARAL_SIMD void narrow(const float* from, c10::BFloat16* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, &from[i], 4);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    to[i].x = static_cast<uint16_t>(is_nan ? (bits >> 16) | 0x40u : rounded);
  }
}
void narrow(const float* from, c10::Half* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i];
}

// A row in fp32: where it lies, or in a buffer that holds it for as long as it is worked on.
template <class T>
class WideRow {
 public:
  explicit WideRow(int64_t count) : buffer_(std::is_same_v<T, float> ? 0 : count), count_(count) {}
  const float* read(const T* row) {
    if constexpr (std::is_same_v<T, float>)
      return row;
    else
      return widened(row);
  }
  /// To be changed in place, and stored.
  float* open(T* row) {
    if constexpr (std::is_same_v<T, float>)
      return row;
    else
      return widened(row);
  }
  /// To be written, and stored.
  float* target(T* row) {
    if constexpr (std::is_same_v<T, float>)
      return row;
    else
      return buffer_.data();
  }
  void store(T* row) {
    if constexpr (!std::is_same_v<T, float>) narrow(buffer_.data(), row, count_);
  }

 private:
  float* widened(const T* row) {
    widen(row, buffer_.data(), count_);
    return buffer_.data();
  }
  std::vector<float> buffer_;
  int64_t count_;
};

// Where the rows of [batch, tokens, ...] lie.
struct Rows {
  explicit Rows(const at::Tensor& x) : tokens(x.size(1)), batch_stride(x.stride(0)), token_stride(x.stride(1)) {}
  int64_t at(int64_t row) const { return row / tokens * batch_stride + row % tokens * token_stride; }
  int64_t tokens, batch_stride, token_stride;
};

at::Tensor as_fp32(const at::Tensor& x) { return x.defined() ? x.to(at::kFloat).contiguous() : x; }
const float* data_of(const at::Tensor& x) { return x.defined() ? x.const_data_ptr<float>() : nullptr; }

// Calls work(begin, end) for ranges of rows in parallel.
template <class Work>
void for_rows(const at::Tensor& x, int64_t count, const Work& work) {
  at::parallel_for(0, x.size(0) * x.size(1), std::max<int64_t>(1, 16384 / std::max<int64_t>(1, count)), work);
}

// Calls work(a number of the tensor's type).
template <class Work>
void with_number_type(const at::Tensor& x, const Work& work) {
  switch (x.scalar_type()) {
    case at::kFloat:
      return work(float{});
    case at::kBFloat16:
      return work(c10::BFloat16{});
    case at::kHalf:
      return work(c10::Half{});
    default:
      fail("the CPU's kernels: expected fp32, bf16 or fp16, got {}", c10::toString(x.scalar_type()));
  }
}

// Every row of x, made into one of out: work(x's in fp32, out's in fp32, its token).
template <class Work>
void map_rows(const at::Tensor& x, at::Tensor& out, int64_t count, const Work& work) {
  const Rows from(x), to(out);
  with_number_type(x, [&](auto number) {
    using T = decltype(number);
    const T* source = x.const_data_ptr<T>();
    T* target = out.mutable_data_ptr<T>();
    for_rows(x, count, [&](int64_t begin, int64_t end) {
      WideRow<T> wide(count);
      for (int64_t row = begin; row < end; ++row) {
        const float* in = wide.read(source + from.at(row));
        work(in, wide.target(target + to.at(row)), row % from.tokens);
        wide.store(target + to.at(row));
      }
    });
  });
}

}  // namespace

void norm_rotary(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& cos,
                 const at::Tensor& sin, at::Tensor& out) {
  const int64_t heads = x.dim() == 4 ? x.size(2) : 1, count = heads * x.size(-1), pairs = x.size(-1) / 2;
  const at::Tensor scale = as_fp32(weight), cos_table = as_fp32(cos), sin_table = as_fp32(sin);
  map_rows(x, out, count, [&](const float* in, float* numbers, int64_t token) {
    if (scale.defined())
      normalise_row(in, data_of(scale), numbers, count, static_cast<float>(eps));
    else if (in != numbers)
      std::memcpy(numbers, in, count * sizeof(float));
    const int64_t place = token * pairs;
    if (cos.defined()) rotate_row(numbers, data_of(cos_table) + place, data_of(sin_table) + place, heads, pairs);
  });
}

void modulated_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift, double eps,
                    at::Tensor& out) {
  const int64_t count = x.size(2), group_tokens = x.size(1) / scale.size(0);
  const at::Tensor scales = as_fp32(scale), shifts = as_fp32(shift);
  map_rows(x, out, count, [&](const float* in, float* numbers, int64_t token) {
    const int64_t group = token / group_tokens * count;
    modulate_row(in, data_of(scales) + group, data_of(shifts) + group, numbers, count, static_cast<float>(eps));
  });
}

void add_gated_(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  const int64_t count = x.size(2), group_tokens = x.size(1) / gate.size(0);
  const at::Tensor gates = as_fp32(gate), added = y.to(x.scalar_type());
  const Rows own(x), other(added);
  with_number_type(x, [&](auto number) {
    using T = decltype(number);
    T* data = x.mutable_data_ptr<T>();
    const T* branch = added.const_data_ptr<T>();
    for_rows(x, count, [&](int64_t begin, int64_t end) {
      WideRow<T> wide(count), wide_branch(count);
      for (int64_t row = begin; row < end; ++row) {
        T* target = data + own.at(row);
        add_gated_row(wide.open(target), wide_branch.read(branch + other.at(row)),
                      data_of(gates) + row % own.tokens / group_tokens * count, count);
        wide.store(target);
      }
    });
  });
}

void merge_attention_(at::Tensor& output, at::Tensor& weight, const at::Tensor& part, const at::Tensor& part_weight) {
  const int64_t heads = output.size(2), count = output.size(3);
  const Rows out(output), in(part), weights(weight), part_weights(part_weight);
  float* const numbers = output.mutable_data_ptr<float>();
  float* const sums = weight.mutable_data_ptr<float>();
  const float* const part_sums = part_weight.const_data_ptr<float>();
  with_number_type(part, [&](auto number) {
    using T = decltype(number);
    const T* source = part.const_data_ptr<T>();
    for_rows(output, heads * count, [&](int64_t begin, int64_t end) {
      WideRow<T> wide(count);
      for (int64_t row = begin; row < end; ++row)
        for (int64_t head = 0; head < heads; ++head) {
          float& sum = sums[weights.at(row) + head * weight.stride(2)];
          const float added = part_sums[part_weights.at(row) + head * part_weight.stride(2)];
          mix_row(numbers + out.at(row) + head * output.stride(2),
                  wide.read(source + in.at(row) + head * part.stride(2)), row::share_of(added, sum), count);
          sum = row::log_of_sum(sum, added);
        }
    });
  });
}

}  // namespace dualparal::cpu
