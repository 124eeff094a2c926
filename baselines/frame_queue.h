// SPDX-License-Identifier: Apache-2.0
// FIFO-Diffusion's queue: a latent frame at each noise level. Slot 0 is the head, the cleanest frame; negative slots
// are frames that have left the queue.
#pragma once

#include <vector>

#include "strategy/parallel/ranges.h"

namespace dualparal {

/// A window of the queue that goes through the transformer together.
struct QueueWindow {
  Range input;    ///< slots that go in
  Range updated;  ///< slots that are taken a step further: the rest is there to be seen
};

/// Windows of `window_frames` slots over a queue of `steps` slots. With lookahead, windows overlap by half and only the
/// noisier half of each is updated, so that every frame sees cleaner ones.
std::vector<QueueWindow> queue_windows(int64_t steps, int64_t window_frames, bool lookahead);

struct FrameQueue {
  int64_t steps = 0;   ///< slots
  int64_t window = 0;  ///< latent frames that go through the transformer together
  int64_t seen = 0;    ///< of them, cleaner ones that are only seen

  /// The longest window up to `window_frames` that the queue has room for.
  FrameQueue(int64_t steps, int64_t window_frames, bool lookahead);

  std::vector<QueueWindow> windows() const { return queue_windows(steps, window, seen > 0); }
  /// Ranks with a window; the others have nothing to do.
  int64_t active_ranks(int64_t world_size) const;
  /// Until `frames` frames have left.
  int64_t iterations(int64_t frames) const { return frames + filling(); }
  /// The video's frame that is in a slot; negative: a copy of the first one, with which the queue was filled.
  int64_t frame_in(int64_t slot, int64_t iteration) const { return iteration + slot - filling(); }
  /// A slot's next step; of a frame that has left the queue, the last one.
  int64_t step_of(int64_t slot) const { return steps - 1 - (slot > 0 ? slot : 0); }

 private:
  int64_t filling() const { return steps > window ? steps - window : 0; }
};

}  // namespace dualparal
