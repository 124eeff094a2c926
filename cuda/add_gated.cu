// SPDX-License-Identifier: Apache-2.0
// x += y * gate, where the gate is a timestep's: 6 bytes a number in bf16, of which none can be saved without joining
// this to the product before it. One block per token, so that the gate's row is found once.
#include "cuda/lane.h"

namespace dualparal::kernels {

template <class Cut>
struct AddGatedLane {
  using T = typename Cut::Type;

  DUALPARAL_BOTH void run(const AddGated& a, const At& at) {
    T* row = row_of(static_cast<T*>(a.x), a.x_rows, at);
    const T* branch = row_of(static_cast<const T*>(a.y), a.y_rows, at);
    const float* gates = a.gate + static_cast<int>(at.token) / a.group_tokens * static_cast<int64_t>(a.count);
    for (int g = 0; g < Cut::groups; ++g) {
      const int first = place<Cut>(at, g);
      float x[Cut::width], y[Cut::width], gate[Cut::width];
      load<Cut::packed>(row, first, a.count, x);
      load<Cut::packed>(branch, first, a.count, y);
      load<Cut::packed>(gates, first, a.count, gate);
      for (int i = 0; i < Cut::width; ++i) x[i] = row::gated(x[i], y[i], gate[i]);
      store<Cut::packed>(row, first, a.count, x);
    }
  }
};

inline bool is_packed(const AddGated& a) {
  return Borders{packed_width(a.number)}
      .data(a.x, 16)
      .data(a.y, 16)
      .data(a.gate, 16)
      .rows(a.x_rows)
      .rows(a.y_rows)
      .stride(a.count)
      .kept;
}

}  // namespace dualparal::kernels

#ifdef __CUDACC__
#include "cuda/launch.cuh"

namespace dualparal::kernels {
namespace {

template <class Cut>
__global__ void __launch_bounds__(kMostLanes) add_gated(AddGated a) {
  AddGatedLane<Cut>().run(a, here());
}

}  // namespace

cudaError_t launch(const AddGated& a, cudaStream_t stream) {
  return with_cut<1>(a.number, is_packed(a), [&](auto cut) {
    return launch_rows<decltype(cut)>(add_gated<decltype(cut)>, a, a.count, stream);
  });
}

}  // namespace dualparal::kernels
#endif
