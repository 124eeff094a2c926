// SPDX-License-Identifier: Apache-2.0
// RMS norm over all heads of a token, and the rotary embedding of each head, in one pass: q and k are read and written
// once (4 bytes a number in bf16). LibTorch reads and writes them three times, with a temporary in fp32 of twice the
// size. One block per token, whose lanes keep their numbers while the sum of squares goes around; a lane's group lies
// within one head, and pairs within a group. In place or not: a lane writes what it has read itself.
#include "cuda/lane.h"

namespace dualparal::kernels {

template <class Cut>
struct NormRotaryLane {
  using T = typename Cut::Type;
  float x[Cut::groups][Cut::width];

  /// The lane's part of the sum of squares.
  DUALPARAL_BOTH float read(const NormRotary& a, const At& at) {
    const T* row = row_of(static_cast<const T*>(a.x), a.x_rows, at);
    float sum = 0;
    for (int g = 0; g < Cut::groups; ++g) {
      load<Cut::packed>(row, place<Cut>(at, g), a.count, x[g]);
      for (int i = 0; i < Cut::width; ++i) sum += x[g][i] * x[g][i];
    }
    return sum;
  }

  DUALPARAL_BOTH void write(const NormRotary& a, const At& at, float sum_of_squares) {
    T* row = row_of(static_cast<T*>(a.out), a.out_rows, at);
    const float inverse = row::inverse_root(sum_of_squares, a.count, a.eps);
    for (int g = 0; g < Cut::groups; ++g) {
      const int first = place<Cut>(at, g);
      if (a.weight) {
        float weight[Cut::width];
        load<Cut::packed>(static_cast<const T*>(a.weight), first, a.count, weight);
        for (int i = 0; i < Cut::width; ++i) x[g][i] = row::normalised(x[g][i], inverse, weight[i]);
      }
      if (a.cos && first < a.count) rotate(a, at, first, x[g]);
      store<Cut::packed>(row, first, a.count, x[g]);
    }
  }

 private:
  DUALPARAL_BOTH static void rotate(const NormRotary& a, const At& at, int first, float (&numbers)[Cut::width]) {
    constexpr int kPairs = Cut::width / 2;
    const int pairs = a.head_dim / 2, pair = first % a.head_dim / 2;
    float cos[kPairs], sin[kPairs];
    load<Cut::packed>(a.cos + at.token * pairs, pair, pairs, cos);
    load<Cut::packed>(a.sin + at.token * pairs, pair, pairs, sin);
    for (int i = 0; i < kPairs; ++i) {
      const row::Pair turned = row::rotated({numbers[2 * i], numbers[2 * i + 1]}, cos[i], sin[i]);
      numbers[2 * i] = turned.even;
      numbers[2 * i + 1] = turned.odd;
    }
  }
};

inline bool is_packed(const NormRotary& a) {
  const int width = packed_width(a.number);
  Borders borders{width};
  borders.data(a.x, 16).data(a.out, 16).data(a.weight, 16).rows(a.x_rows).rows(a.out_rows).stride(a.count);
  if (a.cos) borders.stride(a.head_dim).data(a.cos, 2 * width).data(a.sin, 2 * width);
  return borders.kept;
}

}  // namespace dualparal::kernels

#ifdef __CUDACC__
#include "cuda/launch.cuh"

namespace dualparal::kernels {
namespace {

template <class Cut>
__global__ void __launch_bounds__(kMostLanes) norm_rotary(NormRotary a) {
  NormRotaryLane<Cut> lane;
  const At at = here();
  float sum = lane.read(a, at);
  if (a.weight) sum = sum_of_block(sum);
  lane.write(a, at, sum);
}

}  // namespace

cudaError_t launch(const NormRotary& a, cudaStream_t stream) {
  return with_cut<2>(a.number, is_packed(a), [&](auto cut) {
    return launch_rows<decltype(cut)>(norm_rotary<decltype(cut)>, a, a.count, stream);
  });
}

cudaError_t find_code() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, norm_rotary<Cut<float, 4, 2, true>>);
}

}  // namespace dualparal::kernels
#endif
