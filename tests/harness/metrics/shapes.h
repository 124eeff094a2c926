// SPDX-License-Identifier: Apache-2.0
// Frames with one coloured shape over a plain background, as the embedded model makes them.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cmath>

namespace dualparal::testing {

enum Shape { kCircle, kSquare, kTriangle };
using Rgb = std::array<int, 3>;
constexpr Rgb kRed = {220, 40, 40}, kWhite = {240, 240, 240}, kDarkBlue = {20, 25, 85}, kBlack = {12, 12, 12};

/// frame: [height, width, 3] uint8. Edges are soft over a pixel, so that fractions of a pixel show.
inline void draw(at::Tensor& frame, Shape shape, const Rgb& colour, double row, double column, double radius) {
  auto pixels = frame.accessor<uint8_t, 3>();
  for (int64_t y = 0; y < frame.size(0); ++y) {
    for (int64_t x = 0; x < frame.size(1); ++x) {
      const double v = static_cast<double>(y) - row, u = std::abs(static_cast<double>(x) - column);
      const double inside = shape == kCircle   ? radius - std::hypot(v, u)
                            : shape == kSquare ? radius - std::max(std::abs(v), u)
                                               : std::min(radius - std::abs(v), (v + radius) / 2 - u);
      const double share = std::clamp(inside + 0.5, 0.0, 1.0);
      for (int64_t c = 0; c < 3; ++c)
        pixels[y][x][c] =
            static_cast<uint8_t>(std::lround(share * colour[static_cast<size_t>(c)] + (1 - share) * pixels[y][x][c]));
    }
  }
}

inline at::Tensor picture(const Rgb& background, int64_t height = 64, int64_t width = 96) {
  const at::Tensor frame = at::empty({height, width, 3}, at::kByte);
  for (int64_t channel = 0; channel < 3; ++channel)
    frame.select(2, channel).fill_(background[static_cast<size_t>(channel)]);
  return frame;
}

inline at::Tensor picture(Shape shape, const Rgb& colour, const Rgb& background, double row = 30, double column = 40,
                          double radius = 12) {
  at::Tensor frame = picture(background);
  draw(frame, shape, colour, row, column, radius);
  return frame;
}

}  // namespace dualparal::testing
