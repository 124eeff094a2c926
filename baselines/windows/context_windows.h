// SPDX-License-Identifier: Apache-2.0
// Sliding context windows, as users make long videos with on one card (ComfyUI: comfy/context_windows.py): in every
// step each window of frames is predicted on its own, and where windows overlap their predictions are averaged.
#pragma once

#include "strategy/strategy.h"

namespace dualparal {

/// | layers a rank holds | tokens it processes               | self-attention sees | noise level |
/// | all                 | windows of frames, one by one     | the window          | one         |
StrategyEntry context_windows_strategy();

}  // namespace dualparal
