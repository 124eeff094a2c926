// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "comm/communicator.h"

namespace dualparal {

/// One rank of `world_size` without the others: what it sends goes nowhere, what it receives has the right shape and
/// holds normal numbers of no meaning (on meta tensors: none). For measuring what one rank computes and holds.
std::unique_ptr<Communicator> emulated_communicator(int64_t rank, int64_t world_size);

}  // namespace dualparal
