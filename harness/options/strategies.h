// SPDX-License-Identifier: Apache-2.0
// The table of strategies: the one place that knows all of them.
#pragma once

#include "strategy/strategy.h"

namespace dualparal {

const std::vector<StrategyEntry>& strategies();

/// UsageError that lists the known names if there is none of this name.
const StrategyEntry& find_strategy(const std::string& name);

}  // namespace dualparal
