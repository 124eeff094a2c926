// SPDX-License-Identifier: Apache-2.0
// Does a video repeat itself? By the autocorrelation of what changes from frame to frame.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/json.h"
#include "harness/metrics/picture.h"

namespace dualparal {

/// Keeps the last kLongestLag changes, each of at most 16 x 16 cells: under 1 MB, whatever the length of the video.
class LoopMeter {
 public:
  static constexpr int64_t kLongestLag = 512;  ///< frames

  /// The next frame. The first one is left out: it has a metric of its own.
  void push(const Picture& picture);

  struct Loop {
    double correlation;
    int64_t lag;  ///< frames
  };
  /// The highest autocorrelation and its lag. Empty: nothing changes, or too few frames, or always in the same way.
  std::optional<Loop> highest() const;

  /// `loop` and `loop_lag_frames`: docs/metrics.md.
  nlohmann::json result() const;

 private:
  using Change = std::vector<int16_t>;
  struct Kept {
    Change change;
    double squares;
  };
  struct Lag {
    double products = 0, squares_now = 0, squares_then = 0;
  };

  int64_t frames_ = 0, changes_ = 0;
  Picture last_;
  std::deque<Kept> kept_;  // the newest first
  std::vector<Lag> lags_ = std::vector<Lag>(kLongestLag + 1);
};

}  // namespace dualparal
