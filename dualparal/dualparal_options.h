// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dualparal/block_queue.h"
#include "dualparal/cache_memory.h"
#include "strategy/denoise/guidance.h"
#include "strategy/parallel/partition.h"
#include "strategy/parallel/stage_grid.h"

namespace dualparal {

/// The options of `dualparal` (docs/strategies.md).
struct DualParalOptions {
  int64_t block_frames = 8, context_frames = 4;
  bool feature_cache = true, noise_sharing = true;
  PreviousContext previous = PreviousContext::kSynchronous;
  WindowPosition position = WindowPosition::kLocal;
  BoundaryCache boundary = BoundaryCache::kRecompute;
  CacheMemory cache_memory = CacheMemory::kAuto;
  GuidanceHalves halves = GuidanceHalves::kBatched;
  PartitionOption partition;
  GroupOptions groups;

  void declare(OptionSet& set);
};

}  // namespace dualparal
