// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "strategy/strategy.h"

namespace dualparal {

/// One rank does everything: what every other strategy is measured and checked against.
///   layers: all | tokens: all | self-attention: all | noise level: one
StrategyEntry single_strategy();

}  // namespace dualparal
