// SPDX-License-Identifier: Apache-2.0
// The video VAE of Wan 2.1 and of Wan 2.2's TI2V-5B (diffusers: AutoencoderKLWan), streaming in both directions: memory
// does not grow with the length of the video.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <variant>
#include <vector>

#include "model/wan/config.h"
#include "model/wan/vae_residual.h"

namespace dualparal {

class VaeEncoder {
 public:
  VaeEncoder(const VaeConfig& config, const WeightScope& root);
  /// One chunk of pixels as the encoder takes them, [batch, pixel_channels, frames, height / patch, width / patch] (the
  /// first: 1 frame; later ones: 4) -> moments [batch, 2 * z_dim, 1, h, w]
  at::Tensor forward(const at::Tensor& pixels, VaeCache& cache) const;

 private:
  CausalConv3d conv_in_;
  std::vector<std::variant<VaeResidualBlock, VaeDownsample, VaeDownLevel>> down_;
  std::unique_ptr<VaeMiddle> middle_;
  ChannelNorm norm_out_;
  CausalConv3d conv_out_, quant_conv_;
};

class VaeDecoder {
 public:
  VaeDecoder(const VaeConfig& config, const WeightScope& root);
  /// One latent frame [batch, z_dim, 1, h, w] -> pixels as channels of patches, [batch, pixel_channels, 1 (the first)
  /// or 4, height / patch, width / patch], not clamped
  at::Tensor forward(const at::Tensor& latents, VaeCache& cache) const;

 private:
  CausalConv3d post_quant_conv_, conv_in_;
  std::unique_ptr<VaeMiddle> middle_;
  std::vector<std::variant<VaeResidualBlock, VaeUpsample, VaeUpLevel>> up_;
  ChannelNorm norm_out_;
  CausalConv3d conv_out_;
};

class Vae {
 public:
  enum class Parts { kDecoder, kBoth };
  Vae(const VaeConfig& config, WeightSource& weights, Parts parts);

  const VaeConfig& config() const { return config_; }
  int64_t weights_bytes() const { return weights_bytes_; }

  /// pixels [batch, 3, frames, height, width] in -1..1, 1 + 4k frames -> mean of the posterior, normalised as the
  /// transformer wants it: [batch, z_dim, 1 + k, height / stride, width / stride] fp32
  at::Tensor encode(const at::Tensor& pixels) const;
  /// Encodes a video piece by piece.
  class EncodeStream {
   public:
    explicit EncodeStream(const Vae& vae) : vae_(vae) {}
    /// pixels: [batch, 3, frames, height, width], the next of the video: the first frame alone, or with 4k frames
    /// behind it; later 4k frames -> [batch, z_dim, 1 (the first) + k, h, w] as encode() gives them
    at::Tensor encode(const at::Tensor& pixels);

   private:
    const Vae& vae_;
    VaeCache cache_;
  };

  /// Everything at once; latents as encode() gives them -> pixels in -1..1, fp32
  at::Tensor decode(const at::Tensor& latents) const;

  /// Decodes a video piece by piece: latents go in as they become final, frames come out.
  class Stream {
   public:
    explicit Stream(const Vae& vae) : vae_(vae) {}
    /// latents [batch, z_dim, frames, h, w] (normalised, the next of the video) -> pixels
    /// [batch, 3, 4 * frames (less 3 for the first piece), height, width] in -1..1, fp32
    at::Tensor decode(const at::Tensor& latents);

   private:
    const Vae& vae_;
    VaeCache cache_;
  };

 private:
  at::Tensor statistic(const std::vector<double>& values) const;

  VaeConfig config_;
  Placement placement_;
  int64_t weights_bytes_ = 0;
  std::unique_ptr<VaeEncoder> encoder_;
  std::unique_ptr<VaeDecoder> decoder_;
};

}  // namespace dualparal
