// SPDX-License-Identifier: Apache-2.0
// FIFO-Diffusion (arXiv 2405.11473): a queue of latent frames, one at each noise level. Every iteration takes all of them
// one step further, hands out the clean one at the head and appends noise at the tail.
#pragma once

#include "strategy/parallel/shares.h"
#include "strategy/strategy.h"

namespace dualparal {

/// A window of the queue that goes through the transformer together. Slot 0 is the head, the cleanest frame; negative
/// slots are frames that have left the queue.
struct QueueWindow {
  Share input;    ///< slots that go in
  Share updated;  ///< slots that are taken a step further: the rest is there to be seen
};

/// Windows of `window_frames` slots over a queue of `steps` slots. With lookahead, windows overlap by half and only the
/// noisier half of each is updated, so that every frame sees cleaner ones.
std::vector<QueueWindow> queue_windows(int64_t steps, int64_t window_frames, bool lookahead);

StrategyEntry fifo_strategy();

}  // namespace dualparal
