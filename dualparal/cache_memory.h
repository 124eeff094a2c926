// SPDX-License-Identifier: Apache-2.0
// Where the keys and values lie that are kept from one iteration to the next: on the device, or in its host's memory.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "model/wan/layer_range.h"
#include "strategy/plan.h"

namespace dualparal {

enum class CacheMemory {
  kAuto,  ///< on the device if they fit there
  kDevice,
  kHost,
};

/// What a rank keeps at a time: the last frames of blocks, for each layer that attends and each micro-batch.
struct TailsKept {
  int64_t count = 0;
  std::vector<int64_t> shape = {};  ///< of one's keys, and of its values: [batch, tokens, heads, head_dim]
  at::ScalarType dtype = at::kFloat;

  int64_t bytes() const;
};

/// Those of a rank's layers whose self-attention is made there, for some tokens at least.
std::vector<int64_t> attending(const LayerRange& layers);

/// What a window of so many tokens takes on its way through a layer, roughly: hidden states, projections and what the
/// feed-forward part has between its products, and as much again for what is kept, sent and received meanwhile.
int64_t working_bytes(const Workload& work, int64_t tokens);

/// Whether they are to lie in host memory: with kAuto if the device says how much it has free, and that is less than
/// these and `working_bytes`. Each rank chooses for itself: the latents are the same.
bool in_host_memory(CacheMemory asked, const TailsKept& tails, int64_t working_bytes, const at::Device& device);

}  // namespace dualparal
