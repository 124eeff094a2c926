// SPDX-License-Identifier: Apache-2.0
// A model folder in Hugging Face diffusers layout: its configurations, and each part loaded when it is wanted.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "model/image/image_encoder.h"
#include "model/image/image_input.h"
#include "model/sampling/scheduler_config.h"
#include "model/tokenizer/tokenizer.h"
#include "model/wan/config.h"
#include "model/wan/image_condition.h"
#include "model/wan/lora.h"
#include "model/wan/text_encoder.h"
#include "model/wan/transformer.h"
#include "model/wan/vae.h"

namespace dualparal {

/// Prompt embeddings, padded with zeros: [1, text tokens, text_dim] each.
struct PromptEmbeds {
  at::Tensor prompt;
  at::Tensor negative;
};

class WanModel {
 public:
  /// Reads and checks model_index.json and every configuration; no weights.
  /// With random_weights, a folder with the configurations alone is enough. loras: merged into the transformer's
  /// weights.
  WanModel(std::filesystem::path dir, bool random_weights, std::vector<LoraSpec> loras = {});

  const std::filesystem::path& dir() const { return dir_; }
  std::string name() const;
  /// Whether any part has weights: false for a folder of configurations.
  bool has_weights() const;
  bool random_weights() const { return random_weights_; }
  const TransformerConfig& transformer_config() const { return transformer_; }
  const VaeConfig& vae_config() const { return vae_; }
  LatentGeometry geometry() const { return vae_.geometry(); }
  const TextEncoderConfig& text_encoder_config() const { return text_encoder_; }
  const SchedulerConfig& scheduler_config() const { return scheduler_; }

  /// Transformers: two where there are two experts, of the same configuration.
  int64_t experts() const { return index_.boundary_ratio > 0 ? 2 : 1; }
  /// The second expert predicts below it; 0: there is one transformer.
  double boundary_timestep() const;
  /// Whether it makes videos from an image only, seen beside the latents of every frame.
  bool from_image() const { return transformer_.condition_channels() > 0; }
  /// Whether an image can be given as the first latent frame, of noise level 0 (Wan 2.2 TI2V-5B).
  bool takes_first_frame() const { return index_.expand_timesteps; }
  /// Whether an image encoder's embeddings are needed, too.
  bool needs_image_embeds() const { return transformer_.image_dim > 0; }
  const ImageEncoderConfig& image_encoder_config() const { return image_encoder_; }
  /// Tokens of those embeddings.
  int64_t image_tokens() const;

  /// On the meta device, shapes alone: no weights are read.
  std::unique_ptr<Transformer> load_transformer(Placement placement, TransformerParts parts, int64_t expert = 0) const;
  std::unique_ptr<Vae> load_vae(Placement placement, Vae::Parts parts) const;
  /// Loads the text encoder, encodes both prompts and frees it again. With random weights and no tokenizer: random
  /// numbers.
  PromptEmbeds encode_prompts(const std::string& prompt, const std::string& negative, Placement placement) const;
  /// The same for several prompts: the text encoder is loaded once.
  std::vector<PromptEmbeds> encode_prompts(const std::vector<std::string>& prompts, const std::string& negative,
                                           Placement placement) const;
  /// Loads what is needed to encode images, and frees it again. With takes_first_frame(), `condition` is the first
  /// image's latents: [1, channels, 1, h, w].
  ImageCondition encode_images(const VideoImages& images, int64_t latent_frames, int64_t height, int64_t width,
                               Placement vae_placement) const;
  /// Tokens that prompts are padded to: the tokenizer's, or Wan's 512 where there is none.
  int64_t text_tokens() const;
  /// All layers, embedding and head.
  TransformerParts whole() const { return {{0, transformer_.num_layers}, true, true}; }

 private:
  void read_image_encoder();
  bool has_tokenizer() const;
  std::unique_ptr<WeightSource> weights(const std::string& part, Placement placement) const;

  std::filesystem::path dir_;
  bool random_weights_;
  std::vector<LoraSpec> loras_;
  ModelIndex index_;
  TransformerConfig transformer_;
  VaeConfig vae_;
  TextEncoderConfig text_encoder_;
  SchedulerConfig scheduler_;
  ImageEncoderConfig image_encoder_;  // where there is one
  ImageProcessorConfig image_processor_;
};

}  // namespace dualparal
