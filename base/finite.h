// SPDX-License-Identifier: Apache-2.0
// NaN and infinity, refused where numbers come in: they would spread over a whole video and still make one.
#pragma once

#include <ATen/ATen.h>

#include <string>

namespace dualparal {

/// Whether every number of a tensor is finite; true for integers, and for meta tensors, which hold none. On a GPU it
/// waits for the device.
bool all_finite(const at::Tensor& tensor);

/// Error "`what`: nan at [0, 3, 1], expected finite numbers" that names the first number that is not.
void check_finite(const at::Tensor& tensor, const std::string& what);

}  // namespace dualparal
