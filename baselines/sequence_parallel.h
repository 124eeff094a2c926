// SPDX-License-Identifier: Apache-2.0
// Sequence parallelism: every rank holds all layers and a part of the tokens; together they compute what `single` does.
#pragma once

#include "strategy/strategy.h"

namespace dualparal {

/// Ring Attention (arXiv 2310.01889).
StrategyEntry ring_strategy();
/// DeepSpeed-Ulysses (arXiv 2309.14509).
StrategyEntry ulysses_strategy();
/// Both at once: USP (arXiv 2405.07719).
StrategyEntry usp_strategy();

}  // namespace dualparal
