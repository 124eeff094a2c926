// SPDX-License-Identifier: Apache-2.0
// Video-Infinity (arXiv 2406.16260): every rank denoises a clip of its own; self-attention also sees frames of the
// neighbours' clips and some of the whole video.
#pragma once

#include "strategy/strategy.h"

namespace dualparal {

StrategyEntry video_infinity_strategy();

}  // namespace dualparal
