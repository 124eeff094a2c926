// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/lvsa.h"

#include <algorithm>
#include <set>

#include "base/errors.h"

namespace dualparal {

std::vector<std::vector<int64_t>> lvsa_frames(int64_t frames, const Lvsa& options, int64_t step) {
  check(options.window >= 0 && options.global_every >= 1 && step >= 0,
        "lvsa: window {}, every {}-th frame, step {}: expected numbers of at least 0, 1, 0", options.window,
        options.global_every, step);
  std::set<int64_t> global{0};
  for (int64_t place = 0; place < frames; place += options.global_every)
    global.insert((step % options.global_every + place) % frames);
  const int64_t width = std::min(frames, 2 * options.window + 1);
  std::vector<std::vector<int64_t>> seen;
  for (int64_t frame = 0; frame < frames; ++frame) {
    std::set<int64_t> those = global;
    const int64_t first = std::clamp<int64_t>(frame - options.window, 0, frames - width);
    for (int64_t other = first; other < first + width; ++other) those.insert(other);
    seen.emplace_back(those.begin(), those.end());
  }
  return seen;
}

int64_t lvsa_global_every(int64_t frames, int64_t window, int64_t trained_frames) {
  if (frames <= trained_frames) return 1;
  const int64_t global = std::max<int64_t>(1, trained_frames - (2 * window + 1));
  return (frames + global - 1) / global;
}

}  // namespace dualparal
