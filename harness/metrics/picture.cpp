// SPDX-License-Identifier: Apache-2.0
#include "harness/metrics/picture.h"

#include <algorithm>

#include "base/errors.h"

namespace dualparal {
namespace {

Picture shrunk(const uint8_t* rgb, int64_t height, int64_t width, int64_t longest) {
  const int64_t factor = std::max<int64_t>(1, (std::max(height, width) + longest - 1) / longest);
  Picture out{.height = std::max<int64_t>(1, height / factor), .width = std::max<int64_t>(1, width / factor)};
  out.factor = factor;
  if (factor == 1) {
    out.rgb.assign(rgb, rgb + 3 * height * width);
    return out;
  }
  const int64_t rows = std::min(factor, height), columns = std::min(factor, width);
  const auto area = static_cast<uint32_t>(rows * columns);
  std::vector<uint32_t> sums(static_cast<size_t>(3 * out.width));
  for (int64_t y = 0; y < out.height; ++y) {
    std::ranges::fill(sums, area / 2);  // rounds
    for (int64_t row = y * factor; row < y * factor + rows; ++row)
      for (int64_t x = 0; x < out.width; ++x)
        for (int64_t i = 0; i < columns; ++i)
          for (int64_t c = 0; c < 3; ++c) sums[3 * x + c] += rgb[3 * (row * width + x * factor + i) + c];
    for (const uint32_t sum : sums) out.rgb.push_back(static_cast<uint8_t>(sum / area));
  }
  return out;
}

}  // namespace

Picture shrink(const at::Tensor& frame, int64_t longest) {
  check(
      frame.dim() == 3 && frame.size(2) == 3 && frame.scalar_type() == at::kByte && frame.is_cpu() && frame.numel() > 0,
      "quality: expected a frame [height, width, 3] of uint8 on the CPU, got [{}] of {}",
      fmt::join(frame.sizes(), ", "), at::toString(frame.scalar_type()));
  const at::Tensor pixels = frame.contiguous();
  return shrunk(pixels.const_data_ptr<uint8_t>(), pixels.size(0), pixels.size(1), longest);
}

Picture shrink(const Picture& picture, int64_t longest) {
  Picture out = shrunk(picture.rgb.data(), picture.height, picture.width, longest);
  out.factor *= picture.factor;
  return out;
}

}  // namespace dualparal
