// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "comm/communicator.h"

namespace dualparal {

struct GlooOptions {
  int64_t rank = 0;
  int64_t world_size = 1;
  std::chrono::milliseconds timeout{60'000};  ///< the longest a rank waits for another
  bool loopback = true;                       ///< all ranks are on this machine
};

/// Ranks over c10d's Gloo (TCP). Tensors on a GPU travel through host memory, so ranks may share a GPU.
/// Returns when all ranks have met in `store`.
std::unique_ptr<Communicator> gloo_communicator(c10::intrusive_ptr<c10d::Store> store, const GlooOptions& options);

}  // namespace dualparal
