// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "strategy/strategy.h"

namespace dualparal {

/// | layers a rank holds | tokens it processes  | self-attention sees            | noise level   |
/// | 1/N                 | one block + context  | block, context, cached frames  | one per block |
/// DualParal (arXiv 2505.21070).
StrategyEntry dualparal_strategy();

}  // namespace dualparal
