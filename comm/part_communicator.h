// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "comm/communicator.h"

namespace dualparal {

/// Some of the ranks of `all`, which must outlive it, as a communicator of their own: its rank i is ranks[i] of `all`.
/// Messages are those of `all`, and its errors name the ranks of `all`. store: for texts and barriers of these ranks
/// alone. broadcast() goes over sends of the first rank to each of the others. Error if this rank is not among them.
std::unique_ptr<Communicator> part_communicator(Communicator& all, std::vector<int64_t> ranks,
                                                c10::intrusive_ptr<c10d::Store> store,
                                                std::chrono::milliseconds timeout);

}  // namespace dualparal
