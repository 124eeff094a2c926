// SPDX-License-Identifier: Apache-2.0
// The table of strategies: the one place that knows all of them.
#pragma once

#include "strategy/strategy.h"

namespace dualparal {

struct RunOptions;

const std::vector<StrategyEntry>& strategies();

/// Whether a run takes the videos of a list all at once (StrategyEntry::queues_videos, in the scenario offline).
bool queues_videos(const RunOptions& run);

/// The plan of all videos of a run, work.videos of them: of all at once, or of each, repeated.
StrategyPlan plan_videos(const RunOptions& run, const Strategy& strategy, Workload work);

/// UsageError that lists the known names if there is none of this name.
const StrategyEntry& find_strategy(const std::string& name);

}  // namespace dualparal
