// SPDX-License-Identifier: Apache-2.0
// The device that a rank computes on, and the number format it computes in.
#pragma once

#include <ATen/ATen.h>

#include <string>

namespace dualparal {

/// Loads LibTorch's CUDA backend, once per process. Error if it cannot be loaded.
void load_cuda_backend();

/// The device that "cpu", "cuda" or "cuda:K" names, there or not. UsageError for any other name.
at::Device named_device(const std::string& name);

/// The same, there: asking for a CUDA device loads LibTorch's CUDA backend (once per process).
/// Throws Error when the backend or the device is not there.
at::Device parse_device(const std::string& name);

/// "fp32", "bf16" or "fp16".
at::ScalarType parse_dtype(const std::string& name);
std::string dtype_name(at::ScalarType dtype);

/// Meta tensors stand for tensors on this type of device: their operations are recorded as those that would run there.
/// Set once, before any of them are made; CPU until then.
void set_traced_device(at::DeviceType type);
/// Where a tensor's operations run, or would run if it is a meta tensor.
at::DeviceType runs_on(const at::Tensor& tensor);

/// Waits until the device has done all that the calling thread's current stream was given, which is all but messages
/// under way. Nothing to do on a CPU, or with shapes alone.
void synchronize(const at::Device& device);

/// Model name of the device, for instance "NVIDIA H100 80GB HBM3", or the processor's name.
std::string device_description(const at::Device& device);

}  // namespace dualparal
