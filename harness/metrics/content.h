// SPDX-License-Identifier: Apache-2.0
// `content`: does every frame hold exactly the object that the prompt asks for? For the embedded model only, whose
// videos show one coloured shape over a plain or softly graded background. The same steps, in the same order, as
// tools/moving_shapes/content.py, where they are described; tests/parity/test_content.py holds the two together.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <optional>
#include <string>

#include "base/json.h"

namespace dualparal {

/// Indices into content.cpp's tables of names; -1: none.
struct ContentClasses {
  int shape = -1, colour = -1, background = -1;
  bool operator==(const ContentClasses&) const = default;
};

/// What a prompt such as "a red circle bounces over a dark blue background" names.
ContentClasses parse_content_prompt(const std::string& prompt);

/// What one frame holds.
struct FrameObject {
  int count = 0;                                ///< objects seen; specks are not counted
  ContentClasses classes;                       ///< of the largest one
  std::optional<std::array<double, 2>> centre;  ///< row and column, pixels
};

/// frame: [height, width, 3] uint8 on the CPU, at least 4 x 4 pixels.
FrameObject find_object(const at::Tensor& frame);

class ContentMeter {
 public:
  explicit ContentMeter(const std::string& prompt) : wanted_(parse_content_prompt(prompt)) {}

  /// The next frame, [height, width, 3] uint8 on the CPU.
  void push_frame(const at::Tensor& frame);

  /// `content` (share of frames, 0..1), `content_first_frame` (0 or 1) and `content_later_frames` (the same share of
  /// the others), `identity_switches_per_100_frames`, `largest_jump_px`; null without frames.
  nlohmann::json result() const;

 private:
  ContentClasses wanted_;
  int64_t frames_ = 0, good_ = 0, switches_ = 0;
  bool first_is_good_ = false;
  double largest_jump_ = 0;
  std::optional<std::array<int, 2>> identity_;   // shape and colour of the last frame that had an object
  std::optional<std::array<double, 2>> centre_;  // in the last frame
};

}  // namespace dualparal
