// SPDX-License-Identifier: Apache-2.0
// The launchers. Each puts one kernel on the stream and returns what CUDA says of the launch; cudaErrorInvalidValue for
// rows of more than 8,192 numbers.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/arguments.h"

namespace dualparal::kernels {

[[nodiscard]] cudaError_t launch(const NormRotary& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch(const ModulatedNorm& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch(const AddGated& arguments, cudaStream_t stream);
[[nodiscard]] cudaError_t launch(const MergeAttention& arguments, cudaStream_t stream);

/// Whether there is code for the current device.
[[nodiscard]] cudaError_t find_code();

}  // namespace dualparal::kernels
