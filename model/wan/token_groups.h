// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "model/ops/frame_sight.h"

namespace dualparal {

/// Shifts, scales and gates of `tokens` tokens, [groups, dim] each with the tokens split evenly over the groups, as
/// those of the tokens in `span` alone. Their groups are as long as fit: shorter where `span` begins or ends within
/// one.
std::vector<at::Tensor> groups_of(const std::vector<at::Tensor>& modulation, const TokenSpan& span, int64_t tokens);

}  // namespace dualparal
