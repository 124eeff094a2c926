// SPDX-License-Identifier: Apache-2.0
// Layer norm, scale and shift of a timestep, in one pass (4 bytes a number in bf16; LibTorch's layer norm in fp32 takes
// 16 with the conversions around it, and 40 with a timestep per frame). One block per token, whose lanes keep their
// numbers; the variance is the mean of squares of what is left without the mean, as accurate as Welford's sum.
#include "cuda/lane.h"

namespace dualparal::kernels {

template <class Cut>
struct ModulatedNormLane {
  using T = typename Cut::Type;
  float x[Cut::groups][Cut::width];

  /// The lane's part of the sum.
  DUALPARAL_BOTH float read(const ModulatedNorm& a, const At& at) {
    const T* row = row_of(static_cast<const T*>(a.x), a.x_rows, at);
    float sum = 0;
    for (int g = 0; g < Cut::groups; ++g) {
      load<Cut::packed>(row, place<Cut>(at, g), a.count, x[g]);
      for (int i = 0; i < Cut::width; ++i) sum += x[g][i];
    }
    return sum;
  }

  /// The lane's part of the sum of squares of x - mean.
  DUALPARAL_BOTH float centre(const ModulatedNorm& a, const At& at, float sum) {
    const float mean = sum / static_cast<float>(a.count);
    float squares = 0;
    for (int g = 0; g < Cut::groups; ++g)
      for (int i = 0; i < Cut::width; ++i) {
        x[g][i] -= mean;
        if (place<Cut>(at, g) + i < a.count) squares += x[g][i] * x[g][i];
      }
    return squares;
  }

  DUALPARAL_BOTH void write(const ModulatedNorm& a, const At& at, float squares) {
    T* row = row_of(static_cast<T*>(a.out), a.out_rows, at);
    const float inverse = row::inverse_root(squares, a.count, a.eps);
    const int64_t group = static_cast<int>(at.token) / a.group_tokens * static_cast<int64_t>(a.count);
    for (int g = 0; g < Cut::groups; ++g) {
      const int first = place<Cut>(at, g);
      float scale[Cut::width], shift[Cut::width];
      load<Cut::packed>(a.scale + group, first, a.count, scale);
      load<Cut::packed>(a.shift + group, first, a.count, shift);
      for (int i = 0; i < Cut::width; ++i) x[g][i] = row::modulated(x[g][i], 0, inverse, scale[i], shift[i]);
      store<Cut::packed>(row, first, a.count, x[g]);
    }
  }
};

inline bool is_packed(const ModulatedNorm& a) {
  return Borders{packed_width(a.number)}
      .data(a.x, 16)
      .data(a.out, 16)
      .data(a.scale, 16)
      .data(a.shift, 16)
      .rows(a.x_rows)
      .rows(a.out_rows)
      .stride(a.count)
      .kept;
}

}  // namespace dualparal::kernels

#ifdef __CUDACC__
#include "cuda/launch.cuh"

namespace dualparal::kernels {
namespace {

template <class Cut>
__global__ void __launch_bounds__(kMostLanes) modulated_norm(ModulatedNorm a) {
  ModulatedNormLane<Cut> lane;
  const At at = here();
  const float sum = sum_of_block(lane.read(a, at));
  lane.write(a, at, sum_of_block(lane.centre(a, at, sum)));
}

}  // namespace

cudaError_t launch(const ModulatedNorm& a, cudaStream_t stream) {
  return with_cut<1>(a.number, is_packed(a), [&](auto cut) {
    return launch_rows<decltype(cut)>(modulated_norm<decltype(cut)>, a, a.count, stream);
  });
}

}  // namespace dualparal::kernels
#endif
