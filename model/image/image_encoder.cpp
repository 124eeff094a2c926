// SPDX-License-Identifier: Apache-2.0
#include "model/image/image_encoder.h"

#include "base/errors.h"
#include "base/measure/nvtx.h"
#include "model/checkpoint/config_reader.h"
#include "model/ops/attention.h"

namespace dualparal {

ImageEncoderConfig read_image_encoder_config(const std::filesystem::path& file) {
  ConfigReader reader(file);
  // As with the text encoder, transformers writes many keys: those that change the encoder are read.
  reader.only("model_type", {"clip_vision_model"});
  reader.only("hidden_act", {"gelu"});
  reader.only("num_channels", {3});
  ImageEncoderConfig config;
  config.hidden_size = reader.size("hidden_size");
  config.intermediate_size = reader.size("intermediate_size");
  config.num_hidden_layers = reader.size("num_hidden_layers");
  config.num_attention_heads = reader.size("num_attention_heads");
  config.image_size = reader.size("image_size");
  config.patch_size = reader.size("patch_size");
  config.layer_norm_eps = reader.optional("layer_norm_eps", 1e-5);
  check(config.hidden_size % config.num_attention_heads == 0, "{}: 'hidden_size' = {} cannot be split into {} heads",
        file.string(), config.hidden_size, config.num_attention_heads);
  check(config.num_hidden_layers >= 2, "{}: 'num_hidden_layers' expected 2 at least, got {}", file.string(),
        config.num_hidden_layers);
  return config;
}

ImageEncoder::ImageEncoder(const ImageEncoderConfig& config, WeightSource& weights)
    : config_(config), placement_(weights.placement()) {
  const int64_t dim = config.hidden_size, patch = config.patch_size;
  // Older files have a prefix that newer ones may lack.
  const WeightScope plain{weights, ""};
  const bool prefixed = weights.contains("vision_model.embeddings.class_embedding");
  const WeightScope root = prefixed ? plain / "vision_model" : plain;
  const auto norm = [&](const WeightScope& scope) {
    return Norm{scope.read("weight", {dim}), scope.read("bias", {dim})};
  };
  const WeightScope embeddings = root / "embeddings";
  class_embedding_ = embeddings.read("class_embedding", {dim});
  patch_weight_ = embeddings.read("patch_embedding.weight", {dim, 3, patch, patch});
  position_embedding_ = embeddings.read("position_embedding.weight", {config.tokens(), dim});
  pre_norm_ = norm(root / "pre_layrnorm");
  const WeightScope all = root / "encoder" / "layers";
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const WeightScope scope = (all / std::to_string(i)).only_if(i + 1 < config.num_hidden_layers);
    Layer layer{norm(scope / "layer_norm1"),
                norm(scope / "layer_norm2"),
                Linear::stacked(scope / "self_attn", {"q_proj", "k_proj", "v_proj"}, dim, dim),
                Linear(scope / "self_attn.out_proj", dim, dim),
                Linear(scope / "mlp.fc1", dim, config.intermediate_size),
                Linear(scope / "mlp.fc2", config.intermediate_size, dim)};
    if (scope.held) layers_.push_back(std::move(layer));
  }
  // Not needed for the last but one hidden state.
  norm((root / "post_layernorm").only_if(false));
}

at::Tensor ImageEncoder::normalise(const at::Tensor& x, const Norm& norm) const {
  return at::layer_norm(x, {config_.hidden_size}, norm.weight, norm.bias, config_.layer_norm_eps);
}

at::Tensor ImageEncoder::forward(const Layer& layer, const at::Tensor& x) const {
  std::vector<at::Tensor> by_head;
  for (const at::Tensor& part : layer.qkv(normalise(x, layer.norm1)).chunk(3, -1))
    by_head.push_back(part.unflatten(-1, {config_.num_attention_heads, -1}).transpose(1, 2));
  const at::Tensor attended = attention(by_head[0], by_head[1], by_head[2]).transpose(1, 2).flatten(2);
  const at::Tensor seen = x + layer.out(attended);
  return seen + layer.down(at::gelu(layer.up(normalise(seen, layer.norm2))));
}

at::Tensor ImageEncoder::encode(const at::Tensor& pixels) const {
  const NvtxRange range("encode images");
  check(pixels.dim() == 4 && pixels.size(1) == 3 && pixels.size(2) == config_.image_size &&
            pixels.size(3) == config_.image_size,
        "image encoder: expected [images, 3, {0}, {0}], got [{1}]", config_.image_size,
        fmt::join(pixels.sizes(), ", "));
  const at::Tensor input = pixels.to(placement_.device, placement_.dtype);
  const at::Tensor patches = at::conv2d(input, patch_weight_, {}, config_.patch_size).flatten(2).transpose(1, 2);
  const at::Tensor whole = class_embedding_.expand({input.size(0), 1, -1});
  at::Tensor hidden = normalise(at::cat({whole, patches}, 1) + position_embedding_, pre_norm_);
  for (const Layer& layer : layers_) hidden = forward(layer, hidden);
  return hidden;
}

}  // namespace dualparal
