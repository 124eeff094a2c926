// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace dualparal {

/// A frame, or a smaller copy of it, as metrics read it.
struct Picture {
  int64_t height = 0, width = 0;
  int64_t factor = 1;             ///< pixels of the frame on a side of one pixel here
  std::vector<uint8_t> rgb = {};  ///< [height, width, 3]

  const uint8_t* pixel(int64_t y, int64_t x) const { return rgb.data() + 3 * (y * width + x); }
};

/// Means over squares of pixels, as small as leaves no side above `longest`; what does not fill a square at the right
/// and at the bottom is left out. frame: [height, width, 3] uint8 on the CPU.
Picture shrink(const at::Tensor& frame, int64_t longest);
Picture shrink(const Picture& picture, int64_t longest);

}  // namespace dualparal
