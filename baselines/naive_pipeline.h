// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "strategy/strategy.h"

namespace dualparal {

/// | layers a rank holds | tokens it processes | self-attention sees | noise level |
/// | 1/N                 | all                 | all                 | one         |
StrategyEntry naive_pipeline_strategy();

}  // namespace dualparal
