// SPDX-License-Identifier: Apache-2.0
// The events of a queue of blocks (DualParal) from those of a smaller queue: what happens to a block in a step depends
// on a few things only, whether it is one of the first or last blocks, and whether the step is one of its first or
// last.
#pragma once

#include <optional>
#include <vector>

#include "harness/shorten/shortening.h"

namespace dualparal {

struct QueueOptions {
  int64_t block_frames = 0, context_frames = 0;
  /// Messages to other ranks that may be under way before the oldest is waited for: the first entries wait for none.
  int64_t messages_ahead = 0;
  int64_t stages = 1;
};

/// The traces of all ranks of a run of this size, put together from those that `trace` makes of smaller runs. Nothing
/// where the run is as small as those would be, or where it does not hold of a small run that its events come entry by
/// entry. Peaks of memory are extended along steps and blocks.
std::optional<std::vector<RankTrace>> expand_queue(const RunSize& size, const QueueOptions& options,
                                                   const TraceRanks& trace);

}  // namespace dualparal
