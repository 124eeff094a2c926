// SPDX-License-Identifier: Apache-2.0
// The image encoder of Wan 2.1's image-to-video models: a CLIP vision transformer (transformers: CLIPVisionModel), up
// to the layer before the last, whose hidden states cross-attention sees.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <vector>

#include "model/ops/layers.h"

namespace dualparal {

/// image_encoder/config.json of CLIPVisionModel.
struct ImageEncoderConfig {
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t image_size = 0;  ///< pixels, square
  int64_t patch_size = 0;
  double layer_norm_eps = 1e-5;

  /// Of an image: its patches and one for the whole.
  int64_t tokens() const { return (image_size / patch_size) * (image_size / patch_size) + 1; }
};
ImageEncoderConfig read_image_encoder_config(const std::filesystem::path& file);

class ImageEncoder {
 public:
  ImageEncoder(const ImageEncoderConfig& config, WeightSource& weights);
  /// pixels: [images, 3, image_size, image_size] -> hidden_states[-2], [images, tokens, hidden_size]
  at::Tensor encode(const at::Tensor& pixels) const;

 private:
  struct Norm {
    at::Tensor weight, bias;
  };
  struct Layer {
    Norm norm1, norm2;
    Linear qkv, out, up, down;
  };
  at::Tensor normalise(const at::Tensor& x, const Norm& norm) const;
  at::Tensor forward(const Layer& layer, const at::Tensor& x) const;

  ImageEncoderConfig config_;
  Placement placement_;
  at::Tensor class_embedding_, patch_weight_, position_embedding_;
  Norm pre_norm_;
  std::vector<Layer> layers_;  // all but the last
};

}  // namespace dualparal
