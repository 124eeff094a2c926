// SPDX-License-Identifier: Apache-2.0
// Attention over some keys joins that over others, each weighted by its share of the sum of exponentials, in place: 10
// bytes a number (fp32 read and written, the new part read in bf16). LibTorch takes six kernels, with a copy of the new
// part and a new sum in fp32. One block per token; a lane's group lies within one head, and the lane with the head's
// first number writes its new log-sum-exp once all lanes have read the old one.
#include "cuda/lane.h"

namespace dualparal::kernels {

template <class Cut>
struct MergeAttentionLane {
  using T = typename Cut::Type;
  float mixed[Cut::groups][Cut::width], weight[Cut::groups];

  DUALPARAL_BOTH void read(const MergeAttention& a, const At& at) {
    for (int g = 0; g < Cut::groups; ++g) {
      const int first = place<Cut>(at, g), head = first / a.head_dim, channel = first % a.head_dim;
      if (head >= a.heads) continue;
      const float old = row_of(a.weight, a.weight_rows, at)[head * a.weight_head];
      const float added = row_of(a.part_weight, a.part_weight_rows, at)[head * a.part_weight_head];
      const T* part = row_of(static_cast<const T*>(a.part), a.part_rows, at) + head * a.part_head;
      float numbers[Cut::width];
      load<Cut::packed>(row_of(a.output, a.output_rows, at) + head * a.output_head, channel, a.head_dim, mixed[g]);
      load<Cut::packed>(part, channel, a.head_dim, numbers);
      const float share = row::share_of(added, old);
      for (int i = 0; i < Cut::width; ++i) mixed[g][i] = row::mixed(mixed[g][i], numbers[i], share);
      weight[g] = row::log_of_sum(old, added);
    }
  }

  DUALPARAL_BOTH void write(const MergeAttention& a, const At& at) const {
    for (int g = 0; g < Cut::groups; ++g) {
      const int first = place<Cut>(at, g), head = first / a.head_dim, channel = first % a.head_dim;
      if (head >= a.heads) continue;
      store<Cut::packed>(row_of(a.output, a.output_rows, at) + head * a.output_head, channel, a.head_dim, mixed[g]);
      if (channel == 0) row_of(a.weight, a.weight_rows, at)[head * a.weight_head] = weight[g];
    }
  }
};

inline bool is_packed(const MergeAttention& a) {
  return Borders{packed_width(a.number)}
      .data(a.output, 16)
      .data(a.part, 16)
      .rows(a.output_rows)
      .rows(a.part_rows)
      .stride(a.output_head)
      .stride(a.part_head)
      .stride(a.head_dim)
      .kept;
}

}  // namespace dualparal::kernels

#ifdef __CUDACC__
#include "cuda/launch.cuh"

namespace dualparal::kernels {
namespace {

template <class Cut>
__global__ void __launch_bounds__(kMostLanes) merge_attention(MergeAttention a) {
  MergeAttentionLane<Cut> lane;
  const At at = here();
  lane.read(a, at);
  __syncthreads();
  lane.write(a, at);
}

}  // namespace

cudaError_t launch(const MergeAttention& a, cudaStream_t stream) {
  return with_cut<1>(a.number, is_packed(a), [&](auto cut) {
    return launch_rows<decltype(cut)>(merge_attention<decltype(cut)>, a, a.heads * a.head_dim, stream);
  });
}

}  // namespace dualparal::kernels
#endif
