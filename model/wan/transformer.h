// SPDX-License-Identifier: Apache-2.0
// Wan's diffusion transformer (diffusers: WanTransformer3DModel), in pieces that can run apart: embed, layers
// [a, b), head. It knows nothing of ranks and strategies: self-attention goes through a SelfAttention policy.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <optional>
#include <vector>

#include "model/ops/layers.h"
#include "model/ops/rotary.h"
#include "model/ops/self_attention.h"
#include "model/wan/config.h"
#include "model/wan/layer_range.h"

namespace dualparal {

/// What a denoising step contributes, for one timestep per group of tokens (one group, or one per frame).
struct TimeConditioning {
  at::Tensor embedding;                          ///< [groups, dim] for the head
  at::Tensor modulation;                         ///< [groups, 6, dim] fp32 for the layers
  std::shared_ptr<const FrameSight> sight = {};  ///< which frames self-attention sees in this step; null: all
};

/// What the prompt, and an image's embeddings, contribute: cross-attention's keys and values, which do not change from
/// step to step.
struct TextContext {
  struct KeyValue {
    at::Tensor key;               ///< [batch, heads, text tokens, head_dim]
    at::Tensor value;             ///< [batch, heads, text tokens, head_dim]
    at::Tensor image_key = {};    ///< [batch, heads, image tokens, head_dim], undefined without an image's embeddings
    at::Tensor image_value = {};  ///< as image_key
  };
  std::vector<KeyValue> layers;  ///< indexed by layer; undefined tensors for layers not held
};

/// Which parts of the transformer a rank holds.
struct TransformerParts {
  LayerRange layers;
  bool embed = true;  ///< patch embedding
  bool head = true;   ///< final norm and projection
};

class TransformerLayer {
 public:
  using Held = std::array<bool, kLayerParts>;
  /// held: the parts that are read; the names and shapes of the others are checked.
  TransformerLayer(const TransformerConfig& config, const WeightScope& scope, const Held& held = {true, true, true});

  /// text: [batch, text tokens, dim]; image: [batch, image tokens, dim], or undefined.
  TextContext::KeyValue text_key_value(const at::Tensor& text, const at::Tensor& image) const;
  /// hidden: [batch, tokens, dim], updated in place; where `share` has some of self-attention's tokens only, as
  /// Transformer::forward_layers says.
  void forward(int64_t index, const LayerShare& share, at::Tensor& hidden, const TimeConditioning& time,
               const TextContext::KeyValue& text, const RotaryTable& rotary, SelfAttention& attention) const;

 private:
  void self_attention(int64_t index, at::Tensor& hidden, const std::vector<at::Tensor>& modulation,
                      const RotaryTable& rotary, const FrameSight* sight, SelfAttention& attention) const;
  void shared_self_attention(int64_t index, const TokenSpan& queries, at::Tensor& hidden,
                             const std::vector<at::Tensor>& modulation, const RotaryTable& rotary,
                             const FrameSight* sight, SelfAttention& attention) const;
  void cross_attention(at::Tensor& hidden, const TextContext::KeyValue& text) const;
  void feed_forward(at::Tensor& hidden, const std::vector<at::Tensor>& modulation) const;

  int64_t heads_;
  double eps_;
  Linear qkv_, out_;                                // self-attention
  at::Tensor norm_q_, norm_k_;                      // [dim]
  Linear cross_q_, cross_kv_, cross_out_;           // cross-attention
  at::Tensor cross_norm_q_, cross_norm_k_;          // [dim]
  Linear image_k_, image_v_;                        // cross-attention to an image's embeddings, where there is one
  at::Tensor image_norm_k_;                         // [dim]
  at::Tensor cross_norm_weight_, cross_norm_bias_;  // [dim] fp32; undefined without cross_attn_norm
  Linear up_, down_;                                // feed-forward
  at::Tensor scale_shift_table_;                    // [1, 6, dim] fp32
};

/// An image encoder's embeddings as cross-attention sees them.
class ImageEmbedder {
 public:
  ImageEmbedder(const TransformerConfig& config, const WeightScope& scope);
  /// [1, image tokens, image_dim] -> [1, image tokens, dim]
  at::Tensor forward(const at::Tensor& embeds) const;

 private:
  at::Tensor position_;                                               // [1, image tokens, image_dim], or undefined
  at::Tensor norm1_weight_, norm1_bias_, norm2_weight_, norm2_bias_;  // fp32
  Linear up_, down_;
};

class Transformer {
 public:
  /// Reads the parts asked for and checks the names and shapes of all others.
  Transformer(const TransformerConfig& config, WeightSource& weights, TransformerParts parts);

  const TransformerConfig& config() const { return config_; }
  const TransformerParts& parts() const { return parts_; }
  const at::Device& device() const { return placement_.device; }
  at::ScalarType dtype() const { return placement_.dtype; }
  int64_t weights_bytes() const { return weights_bytes_; }

  /// Patches of a window of latents [batch, channels, frames, height, width]. Error if they do not divide.
  TokenGrid grid(at::IntArrayRef latent_shape) const;
  const RotaryEmbedding& rotary() const { return rotary_; }

  /// timesteps: [groups], in 0..1000.
  TimeConditioning time_conditioning(const at::Tensor& timesteps) const;
  /// prompt_embeds: [batch, text tokens, text_dim]. image_embeds: [1, image tokens, image_dim], of a model with one.
  TextContext text_context(const at::Tensor& prompt_embeds, const at::Tensor& image_embeds = {}) const;

  /// latents: [batch, in_channels, frames, height, width] -> [batch, tokens, dim]
  at::Tensor embed(const at::Tensor& latents) const;
  /// hidden: [batch, tokens, dim], updated by the layers of `range`, which must be held. Where the range begins or ends
  /// within a self-attention, that is [batch, tokens + carried, dim]: all tokens as they go into it, and behind them
  /// those that are through it already (LayerRange::carried_in, carried_out).
  void forward_layers(LayerRange range, at::Tensor& hidden, const TimeConditioning& time, const TextContext& text,
                      const RotaryTable& rotary, SelfAttention& attention) const;
  /// The head in two parts. hidden: [batch, any tokens, dim] -> [batch, tokens, channels of a patch], token by token.
  at::Tensor project(const at::Tensor& hidden, const TimeConditioning& time) const;
  /// patches: [batch, grid.tokens(), channels of a patch] -> prediction [batch, channels, frames, height, width]
  at::Tensor unpatchify(const at::Tensor& patches, const TokenGrid& grid) const;
  /// Both. hidden: [batch, tokens, dim] of whole frames.
  at::Tensor head(const at::Tensor& hidden, const TimeConditioning& time, const TokenGrid& grid) const;

 private:
  TransformerConfig config_;
  TransformerParts parts_;
  Placement placement_;
  int64_t weights_bytes_ = 0;
  RotaryEmbedding rotary_;
  at::Tensor patch_weight_, patch_bias_;  // [dim, channels * patch], [dim]
  Linear time_1_, time_2_;                // fp32
  Linear time_proj_, text_1_, text_2_;
  std::optional<ImageEmbedder> image_;
  std::vector<TransformerLayer> layers_;  // those of parts_.layers, of which the first and last may hold parts only
  Linear proj_out_;
  at::Tensor scale_shift_table_;  // [1, 2, dim] fp32
};

}  // namespace dualparal
