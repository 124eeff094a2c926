// SPDX-License-Identifier: Apache-2.0
// Our kernels for CUDA devices: a module beside the program (cuda/), loaded when it is wanted. Without it, the same
// operations are several of LibTorch's each.
#pragma once

#include <ATen/ATen.h>

#include <string>

namespace dualparal {

constexpr const char* kKernelModuleFile = "libdualparal_cuda.so";
constexpr const char* kKernelModuleSymbol = "dualparal_cuda_module";

/// What the module tells of itself.
struct KernelModule {
  const char* program_version;  ///< that it was built with
  /// Why its kernels cannot run on a device; null if they can.
  const char* (*refusal)(int device_index);
};

/// UsageError unless `choice` is one of --kernels: auto, own, aten.
void check_kernels(const std::string& choice);

/// Once, before the model is loaded. auto: ours where the module is beside the program and has code for the device,
/// else LibTorch's; own: ours, or Error that says why not; aten: LibTorch's. A CPU has its own in any case. Meta
/// tensors that stand for a CUDA device's count as ours, unless the choice is aten.
void choose_kernels(const std::string& choice, const at::Device& device);

/// Whether our kernels run on the device type that tensors are on, or stand for.
bool own_kernels(at::DeviceType type);

/// "own" or "aten".
std::string kernels_on(at::DeviceType type);

}  // namespace dualparal
