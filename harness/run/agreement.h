// SPDX-License-Identifier: Apache-2.0
// What ranks must have in common before they start.
#pragma once

#include <ATen/ATen.h>

#include "comm/communicator.h"
#include "harness/options/generate_options.h"

namespace dualparal {

/// Ranks must agree on everything that decides what is sent: options, model, program. Error that names the rank and
/// what it was started with.
void check_agreement(Communicator& comm, const GenerateOptions& options);

/// Rank 0's tensor (fp32 on the CPU), or its being undefined, on every rank.
void broadcast_from_first(Communicator& comm, at::Tensor& tensor);

}  // namespace dualparal
