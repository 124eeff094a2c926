// SPDX-License-Identifier: Apache-2.0
#include "baselines/frame_queue.h"

#include <algorithm>

namespace dualparal {

std::vector<QueueWindow> queue_windows(int64_t steps, int64_t window_frames, bool lookahead) {
  const int64_t seen = lookahead ? window_frames / 2 : 0, stride = window_frames - seen;
  std::vector<QueueWindow> windows;
  for (int64_t begin = 0; begin < steps; begin += stride) {
    const int64_t end = std::min(steps, begin + stride);
    windows.push_back({{begin - seen, end}, {begin, end}});
  }
  return windows;
}

FrameQueue::FrameQueue(int64_t steps, int64_t window_frames, bool lookahead)
    : steps(steps), window(std::min(window_frames, steps)) {
  if (!lookahead) return;
  window = std::max<int64_t>(2, window - window % 2);
  seen = window / 2;
}

int64_t FrameQueue::active_ranks(int64_t world_size) const {
  return std::min(world_size, static_cast<int64_t>(windows().size()));
}

}  // namespace dualparal
