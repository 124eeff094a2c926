// SPDX-License-Identifier: Apache-2.0
// Motion by block matching: does anything move, and does it jump? Consistency alone is best in a video that stands
// still.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/json.h"
#include "harness/metrics/number.h"
#include "harness/metrics/picture.h"

namespace dualparal {

class MotionMeter {
 public:
  /// borders: frames with which blocks begin, ascending. The first frame is left out: it has a metric of its own.
  explicit MotionMeter(std::vector<int64_t> borders) : borders_(std::move(borders)) {}

  /// The next frame; all of one size.
  void push(const Picture& picture);

  /// `dynamic_degree_px`, `still_frames`, `largest_motion_px`, `border_motion_ratio`: docs/metrics.md.
  nlohmann::json result() const;

 private:
  std::vector<int64_t> borders_;
  Picture last_;
  int64_t frames_ = 0, compared_ = 0, still_ = 0;
  Mean at_border_, elsewhere_;  // pixels a frame
  std::optional<double> largest_;
};

/// How far a picture moved against the one before it, in pixels of the frame.
struct PictureMotion {
  bool still = true;                          ///< no block changed
  std::optional<double> displacement_px = 0;  ///< median over the blocks that changed; empty: none can be followed
};
PictureMotion motion_between(const Picture& before, const Picture& after);

}  // namespace dualparal
