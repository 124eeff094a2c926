// SPDX-License-Identifier: Apache-2.0
// `drift`: do the statistics of a long video wander off from those of its beginning?
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <optional>

namespace dualparal {

/// Takes frames one by one and keeps sums only. A window is a tenth of the frames (rounded, at least one); a normal
/// distribution is fitted to each channel over each window, and the distance of two windows is the root mean square,
/// over the channels, of the 2-Wasserstein distance of these: sqrt(mean over channels of (difference of the means)^2 +
/// (difference of the standard deviations)^2).
class DriftMeter {
 public:
  /// unit: what counts as 1, in the values that will come.
  explicit DriftMeter(int64_t total_frames, double unit = 1.0);

  /// The next frame, [channels, values].
  void push(const at::Tensor& frame);
  int64_t frames() const { return next_; }

  /// First window against last window. Empty with fewer than two frames, or before the last one came.
  std::optional<double> to_end() const { return distance(kFirst, kLast); }
  /// First window against the one after it: what to expect of a video without drift.
  std::optional<double> within_start() const { return distance(kFirst, kSecond); }

 private:
  enum WindowName { kFirst, kSecond, kLast };
  struct Window {
    int64_t begin, end;       // frames
    at::Tensor sum, squares;  // [channels] double
    int64_t values = 0;       // per channel
  };
  std::optional<double> distance(WindowName a, WindowName b) const;

  int64_t total_, next_ = 0;
  double unit_;
  std::array<Window, 3> windows_;
};

}  // namespace dualparal
