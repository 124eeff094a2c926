// SPDX-License-Identifier: Apache-2.0
// What CUDA devices are told and asked, beside computing.
#pragma once

#include <ATen/ATen.h>

#include <string>

namespace dualparal {

/// fp32 means fp32 (no TF32 in products, convolutions and cuDNN), and cuDNN takes the algorithm that it expects to be
/// the fastest, without trying all of them first: the same in every run. Part of parse_device().
void set_arithmetic();

/// Where a CUDA device is, for instance "0000:19:00.0"; empty where the driver does not say.
std::string pci_address(const at::Device& device);

}  // namespace dualparal
