// SPDX-License-Identifier: Apache-2.0
// The table of strategies: the one place that knows all of them.
#pragma once

#include "strategy/strategy.h"

namespace dualparal {

const std::vector<StrategyEntry>& strategies();

/// What of a run is alike from one to the next, so that a trace needs it once (harness/shorten): steps of the whole
/// video, iterations of a queue of frames, or those of a queue of blocks (dualparal/block_plan.h). Of a strategy that
/// is not known for it, nothing.
enum class Repeats { kNothing, kSteps, kIterations, kQueue };
Repeats what_repeats(const std::string& strategy);

/// UsageError that lists the known names if there is none of this name.
const StrategyEntry& find_strategy(const std::string& name);

}  // namespace dualparal
