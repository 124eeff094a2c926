// SPDX-License-Identifier: Apache-2.0
// Wan 2.2's residual VAE (diffusers: WanResidualDownBlock, WanResidualUpBlock): each level's residual blocks and change
// of size have a shortcut without parameters around them. Tensors are [batch, channels, frames, height, width].
#pragma once

#include <optional>
#include <vector>

#include "model/wan/vae_layers.h"

namespace dualparal {

/// How a level changes the size: frames, and height and width, by so much. 1: not.
struct VaeFactor {
  int64_t frames = 1, space = 1;
  int64_t positions() const { return frames * space * space; }
};

/// Channels of neighbouring positions side by side, averaged in groups to `channels`. Zero frames go in front up to a
/// multiple of factor.frames. Error unless the numbers divide.
at::Tensor average_down(const at::Tensor& x, int64_t channels, const VaeFactor& factor);

/// Its counterpart: channels repeated, then spread over neighbouring positions. first_chunk: of the first frame only
/// the last copy is kept. Error unless the numbers divide.
at::Tensor repeat_up(const at::Tensor& x, int64_t channels, const VaeFactor& factor, bool first_chunk);

/// A level of the encoder.
class VaeDownLevel {
 public:
  /// last: the size stays.
  VaeDownLevel(const WeightScope& scope, int64_t in, int64_t out, int64_t residual_blocks, bool last, bool temporal);
  at::Tensor forward(const at::Tensor& x, VaeCache& cache) const;

 private:
  int64_t channels_;
  VaeFactor factor_;
  std::vector<VaeResidualBlock> blocks_;
  std::optional<VaeDownsample> down_;
};

/// A level of the decoder.
class VaeUpLevel {
 public:
  /// last: the size stays, and there is no shortcut.
  VaeUpLevel(const WeightScope& scope, int64_t in, int64_t out, int64_t residual_blocks, bool last, bool temporal);
  at::Tensor forward(const at::Tensor& x, VaeCache& cache) const;

 private:
  int64_t channels_;
  VaeFactor factor_;
  std::vector<VaeResidualBlock> blocks_;
  std::optional<VaeUpsample> up_;
};

/// Pixels of patches as channels, and back: [batch, 3, frames, height, width] <->
/// [batch, 3 x size x size, frames, height / size, width / size].
at::Tensor pixels_to_channels(const at::Tensor& pixels, int64_t size);
at::Tensor channels_to_pixels(const at::Tensor& patches, int64_t size);

}  // namespace dualparal
