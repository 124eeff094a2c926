// SPDX-License-Identifier: Apache-2.0
// One rank's part of FIFO-Diffusion's queue: its windows, a step of theirs, and the frames that move on.
#pragma once

#include <algorithm>

#include "baselines/frame_queue.h"
#include "strategy/denoise/denoiser.h"
#include "strategy/denoise/local_attention.h"
#include "strategy/parallel/exchange.h"
#include "strategy/strategy.h"

namespace dualparal {

class QueueRank {
 public:
  /// window_frames, lookahead: of queue_windows().
  QueueRank(const DenoiseContext& context, int64_t window_frames, bool lookahead, GuidanceHalves halves);

  /// Until all frames of the video have left the queue.
  void run();

 private:
  // Frames of slots [range.begin, range.end) of the queue.
  struct Slots {
    Range range;
    at::Tensor latents;  // [1, channels, slots, h, w] fp32

    at::Tensor of(const Range& slots) const {
      return latents.slice(2, slots.begin - range.begin, slots.end - range.begin);
    }
  };

  // What is the same for a window in every iteration.
  struct WindowPass {
    QueueWindow window;
    Pass pass;          // windows of equal length share its rotary tables
    at::Tensor change;  // of the noise level in a step: [1, 1, updated frames, 1, 1]
  };

  WorkLabel label(size_t window, int64_t iteration, int64_t last_layer) const;
  at::Tensor opening_frames(int64_t total) const;
  int64_t first_iteration() const;
  void enter_queue(const at::Tensor& opening);
  void keep(SnapshotAgenda& agenda, int64_t iteration);
  Slots first_slots(const at::Tensor& opening, const Range& range) const;
  void make_passes(const std::vector<QueueWindow>& windows);
  at::Tensor step(WindowPass& one, int64_t iteration);
  at::Tensor shift(const at::Tensor& latents, int64_t entering);
  at::Tensor entering_noise(int64_t frame) const;

  const DenoiseContext& context_;
  Denoiser denoiser_;
  FrameQueue queue_;
  std::vector<QueueWindow> all_;
  int64_t active_;
  Exchange exchange_;
  LocalAttention attention_;
  Range held_;  // windows of this rank
  Slots slots_;
  std::vector<WindowPass> passes_;
};

}  // namespace dualparal
