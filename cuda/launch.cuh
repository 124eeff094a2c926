// SPDX-License-Identifier: Apache-2.0
// A block per token: where a thread is, sums over a block, the launch.
#pragma once

#include "cuda/kernels.h"
#include "cuda/lane.h"

namespace dualparal::kernels {

constexpr int kMostLanes = 1024;

__device__ __forceinline__ At here() {
  return {static_cast<int64_t>(blockIdx.y), static_cast<int64_t>(blockIdx.x), static_cast<int>(threadIdx.x),
          static_cast<int>(blockDim.x)};
}

__device__ __forceinline__ float sum_of_warp(float x) {
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}

/// Of all threads, for all threads, in the same order at every launch. Whole warps; may be called again.
__device__ __forceinline__ float sum_of_block(float x) {
  __shared__ float sums[kMostLanes / 32];
  x = sum_of_warp(x);
  if (blockDim.x == 32) return x;
  const unsigned warp = threadIdx.x / 32, place = threadIdx.x % 32;
  if (place == 0) sums[warp] = x;
  __syncthreads();
  x = sum_of_warp(place < blockDim.x / 32 ? sums[place] : 0.0f);
  __syncthreads();  // the next sum writes there
  return x;
}

template <class Cut, class Arguments>
cudaError_t launch_rows(void (*kernel)(Arguments), const Arguments& a, int count, cudaStream_t stream) {
  if (a.batch == 0 || a.tokens == 0 || count == 0) return cudaSuccess;
  const int lanes = lanes_for<Cut>(count);
  if (lanes > kMostLanes || a.batch > 65535 || a.tokens > INT32_MAX) return cudaErrorInvalidValue;
  const dim3 blocks(static_cast<unsigned>(a.tokens), static_cast<unsigned>(a.batch));
  kernel<<<blocks, lanes, 0, stream>>>(a);
  return cudaGetLastError();
}

}  // namespace dualparal::kernels
