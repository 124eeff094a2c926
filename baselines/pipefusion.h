// SPDX-License-Identifier: Apache-2.0
// PipeFusion (arXiv 2405.14430; xDiT): patches of the sequence follow each other through a pipeline of ranks without
// waiting for a step to end, each seeing the others by keys and values that may be a step old.
#pragma once

#include "strategy/strategy.h"

namespace dualparal {

/// | layers a rank holds | tokens it processes     | self-attention sees                        | noise level |
/// | 1/N                 | patches, one by one     | all: other patches by what the rank kept   | one         |
StrategyEntry pipefusion_strategy();

}  // namespace dualparal
