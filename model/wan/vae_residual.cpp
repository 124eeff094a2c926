// SPDX-License-Identifier: Apache-2.0
#include "model/wan/vae_residual.h"

#include "base/errors.h"

namespace dualparal {
namespace {

std::vector<VaeResidualBlock> residual_blocks(const WeightScope& scope, int64_t in, int64_t out, int64_t count) {
  std::vector<VaeResidualBlock> blocks;
  for (int64_t i = 0; i < count; ++i)
    blocks.emplace_back(scope / "resnets" / std::to_string(i), i == 0 ? in : out, out);
  return blocks;
}

void check_divides(int64_t channels, int64_t by, const char* what) {
  check(channels % by == 0, "vae: a shortcut cannot {} {} channels to {}", what, channels, by);
}

}  // namespace

at::Tensor average_down(const at::Tensor& x, int64_t channels, const VaeFactor& factor) {
  check_divides(x.size(1) * factor.positions(), channels, "average");
  const int64_t missing = (factor.frames - x.size(2) % factor.frames) % factor.frames;
  const at::Tensor whole = missing > 0 ? at::constant_pad_nd(x, {0, 0, 0, 0, missing, 0}) : x;
  const auto grouped = whole.unflatten(4, {-1, factor.space})
                           .unflatten(3, {-1, factor.space})
                           .unflatten(2, {-1, factor.frames})  // [batch, in, t, frames, h, space, w, space]
                           .permute({0, 1, 3, 5, 7, 2, 4, 6});
  return grouped.flatten(1, 4).unflatten(1, {channels, -1}).mean(2);
}

at::Tensor repeat_up(const at::Tensor& x, int64_t channels, const VaeFactor& factor, bool first_chunk) {
  check_divides(channels * factor.positions(), x.size(1), "repeat");
  const at::Tensor spread =
      x.repeat_interleave(channels * factor.positions() / x.size(1), 1)
          .unflatten(1, {channels, factor.frames, factor.space, factor.space})  // [.., frames, space, space, t, h, w]
          .permute({0, 1, 5, 2, 6, 3, 7, 4})
          .flatten(6, 7)
          .flatten(4, 5)
          .flatten(2, 3);
  return first_chunk ? spread.slice(2, factor.frames - 1) : spread;
}

VaeDownLevel::VaeDownLevel(const WeightScope& scope, int64_t in, int64_t out, int64_t count, bool last, bool temporal)
    : channels_(out),
      factor_{!last && temporal ? 2 : 1, last ? 1 : 2},
      blocks_(residual_blocks(scope, in, out, count)) {
  if (!last) down_.emplace(scope / "downsampler", out, temporal);
}

at::Tensor VaeDownLevel::forward(const at::Tensor& x, VaeCache& cache) const {
  at::Tensor h = x;
  for (const VaeResidualBlock& block : blocks_) h = block.forward(h, cache);
  if (down_) h = down_->forward(h, cache);
  return h + average_down(x, channels_, factor_);
}

VaeUpLevel::VaeUpLevel(const WeightScope& scope, int64_t in, int64_t out, int64_t count, bool last, bool temporal)
    : channels_(out),
      factor_{!last && temporal ? 2 : 1, last ? 1 : 2},
      blocks_(residual_blocks(scope, in, out, count + 1)) {
  if (!last) up_.emplace(scope / "upsampler", out, out, temporal);
}

at::Tensor VaeUpLevel::forward(const at::Tensor& x, VaeCache& cache) const {
  at::Tensor h = x;
  for (const VaeResidualBlock& block : blocks_) h = block.forward(h, cache);
  if (!up_) return h;
  return up_->forward(h, cache) + repeat_up(x, channels_, factor_, cache.first_chunk());
}

at::Tensor pixels_to_channels(const at::Tensor& pixels, int64_t size) {
  if (size == 1) return pixels;
  return pixels.unflatten(4, {-1, size})
      .unflatten(3, {-1, size})        // [batch, 3, frames, h, size, w, size]
      .permute({0, 1, 6, 4, 2, 3, 5})  // columns of a patch before its rows
      .flatten(1, 3);
}

at::Tensor channels_to_pixels(const at::Tensor& patches, int64_t size) {
  if (size == 1) return patches;
  return patches
      .unflatten(1, {-1, size, size})  // [batch, 3, size, size, frames, h, w]
      .permute({0, 1, 4, 5, 3, 6, 2})
      .flatten(5, 6)
      .flatten(3, 4);
}

}  // namespace dualparal
