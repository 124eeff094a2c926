// SPDX-License-Identifier: Apache-2.0
// The arithmetic of one number in a row, which the CPU's kernels (ops_cpu.cpp) and the GPU's (cuda/) share: both
// compute in fp32 and round once, when the row is stored.
#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define DUALPARAL_BOTH __host__ __device__ __forceinline__
#else
#define DUALPARAL_BOTH inline __attribute__((always_inline))
#endif

namespace dualparal::row {

/// 1 / sqrt(mean of squares + eps): of x for an RMS norm, of x - mean for a layer norm.
DUALPARAL_BOTH float inverse_root(float sum_of_squares, int64_t count, float eps) {
  return 1.0f / sqrtf(sum_of_squares / static_cast<float>(count) + eps);
}

DUALPARAL_BOTH float normalised(float x, float inverse, float weight) { return x * inverse * weight; }

DUALPARAL_BOTH float modulated(float x, float mean, float inverse, float scale, float shift) {
  return (x - mean) * inverse * scale + shift;
}

/// Two neighbouring channels, turned by their position's angle.
struct Pair {
  float even, odd;
};
DUALPARAL_BOTH Pair rotated(Pair x, float cos, float sin) {
  return {x.even * cos - x.odd * sin, x.even * sin + x.odd * cos};
}

DUALPARAL_BOTH float gated(float x, float y, float gate) { return x + y * gate; }

/// The new part's share of the sum of exponentials. weight, added: log-sum-exps, -inf for nothing yet.
DUALPARAL_BOTH float share_of(float added, float weight) { return 1.0f / (1.0f + expf(weight - added)); }

DUALPARAL_BOTH float log_of_sum(float weight, float added) {
  const float larger = weight > added ? weight : added, smaller = weight > added ? added : weight;
  return larger + log1pf(expf(smaller - larger));
}

DUALPARAL_BOTH float mixed(float old, float added, float share) { return old + share * (added - old); }

}  // namespace dualparal::row
