// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ATen.h>

#include <string>

namespace dualparal {

/// Which kernel attention() takes there: "flash_for_cpu", "cudnn", "flash", "efficient", "math"; "none" for shapes
/// alone.
std::string attention_kernel(const at::Device& device, at::ScalarType dtype, int64_t head_dim);

}  // namespace dualparal
