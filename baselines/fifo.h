// SPDX-License-Identifier: Apache-2.0
// FIFO-Diffusion (arXiv 2405.11473): a queue of latent frames, one at each noise level. Every iteration takes all of
// them one step further, hands out the clean one at the head and appends noise at the tail.
#pragma once

#include "strategy/strategy.h"

namespace dualparal {

/// | layers a rank holds | tokens it processes             | self-attention sees | noise level   |
/// | all                 | windows of the queue, one by one | the window          | one per frame |
StrategyEntry fifo_strategy();

}  // namespace dualparal
