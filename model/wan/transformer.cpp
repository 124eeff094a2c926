// SPDX-License-Identifier: Apache-2.0
#include "model/wan/transformer.h"

#include <cmath>

#include "base/errors.h"
#include "base/measure/nvtx.h"
#include "model/ops/ops.h"

namespace dualparal {

Transformer::Transformer(const TransformerConfig& config, WeightSource& weights, TransformerParts parts)
    : config_(config),
      parts_(parts),
      placement_(weights.placement()),
      rotary_(config.attention_head_dim, config.rope_max_seq_len) {
  check(0 <= parts.layers.begin && parts.layers.begin <= parts.layers.end && parts.layers.end <= config.num_layers,
        "layers {}..{} do not exist in a model of {} layers", parts.layers.begin, parts.layers.end, config.num_layers);
  for (const LayerCut& cut : {parts.layers.from, parts.layers.to})
    check(0 <= cut.part && cut.part <= kLayerParts && 0 <= cut.permille && cut.permille < 1000,
          "a layer cannot be cut at part {}, {} thousandths", cut.part, cut.permille);
  const int64_t dim = config.dim();
  const auto& patch = config.patch_size;
  const int64_t before = weights.held_bytes();
  const WeightScope root{weights, ""};

  const WeightScope patch_scope = (root / "patch_embedding").only_if(parts.embed);
  patch_weight_ = patch_scope.read("weight", {dim, config.in_channels, patch[0], patch[1], patch[2]});
  patch_bias_ = patch_scope.read("bias", {dim});
  if (patch_weight_.defined()) patch_weight_ = patch_weight_.flatten(1);

  const WeightScope condition = root / "condition_embedder";
  time_1_ = Linear(condition / "time_embedder.linear_1", config.freq_dim, dim, at::kFloat);
  time_2_ = Linear(condition / "time_embedder.linear_2", dim, dim, at::kFloat);
  time_proj_ = Linear(condition / "time_proj", dim, 6 * dim);
  text_1_ = Linear(condition / "text_embedder.linear_1", config.text_dim, dim);
  text_2_ = Linear(condition / "text_embedder.linear_2", dim, dim);
  if (config.image_dim > 0) image_.emplace(config, condition / "image_embedder");

  for (int64_t i = 0; i < config.num_layers; ++i) {
    TransformerLayer::Held held;
    for (int64_t part = 0; part < kLayerParts; ++part)
      held.at(static_cast<size_t>(part)) = parts.layers.contains(i) && parts.layers.holds(i, part);
    TransformerLayer layer(config, root / "blocks" / std::to_string(i), held);
    if (parts.layers.contains(i)) layers_.push_back(std::move(layer));
  }
  const WeightScope head = root.only_if(parts.head);
  proj_out_ = Linear(head / "proj_out", dim, config.out_channels * patch[0] * patch[1] * patch[2]);
  scale_shift_table_ = head.read("scale_shift_table", {1, 2, dim}, at::kFloat);
  weights.refuse_surplus();
  weights_bytes_ = weights.held_bytes() - before;
}

ImageEmbedder::ImageEmbedder(const TransformerConfig& config, const WeightScope& scope) {
  const int64_t width = config.image_dim, dim = config.dim();
  if (config.pos_embed_seq_len > 0) position_ = scope.read("pos_embed", {1, config.pos_embed_seq_len, width});
  norm1_weight_ = (scope / "norm1").read("weight", {width}, at::kFloat);
  norm1_bias_ = (scope / "norm1").read("bias", {width}, at::kFloat);
  up_ = Linear(scope / "ff.net.0.proj", width, width);
  down_ = Linear(scope / "ff.net.2", width, dim);
  norm2_weight_ = (scope / "norm2").read("weight", {dim}, at::kFloat);
  norm2_bias_ = (scope / "norm2").read("bias", {dim}, at::kFloat);
}

at::Tensor ImageEmbedder::forward(const at::Tensor& embeds) const {
  const int64_t width = norm1_weight_.size(0);
  check(embeds.dim() == 3 && embeds.size(0) == 1 && embeds.size(2) == width,
        "image embeddings: expected [1, tokens, {}], got [{}]", width, fmt::join(embeds.sizes(), ", "));
  check(!position_.defined() || embeds.size(1) == position_.size(1),
        "image embeddings: expected {} tokens, those of a first and a last image, got {}",
        position_.defined() ? position_.size(1) : 0, embeds.size(1));
  const auto norm = [&](const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    return at::layer_norm(x.to(at::kFloat), {x.size(2)}, weight, bias, 1e-5).to(x.scalar_type());
  };
  const at::Tensor placed = position_.defined() ? embeds + position_ : embeds;
  const at::Tensor inner = at::gelu(up_(norm(placed, norm1_weight_, norm1_bias_)));
  return norm(down_(inner), norm2_weight_, norm2_bias_);
}

TokenGrid Transformer::grid(at::IntArrayRef shape) const {
  check(shape.size() == 5 && shape[1] == config_.in_channels,
        "latents: expected [batch, {}, frames, height, width], got [{}]", config_.in_channels, fmt::join(shape, ", "));
  const auto& patch = config_.patch_size;
  check(shape[3] % patch[1] == 0 && shape[4] % patch[2] == 0,
        "latents of {} x {} cannot be cut into patches of {} x {}", shape[3], shape[4], patch[1], patch[2]);
  return {shape[2] / patch[0], shape[3] / patch[1], shape[4] / patch[2]};
}

TimeConditioning Transformer::time_conditioning(const at::Tensor& timesteps) const {
  const auto fp32 = at::TensorOptions().device(placement_.device).dtype(at::kFloat);
  const int64_t half = config_.freq_dim / 2;
  const at::Tensor frequency = at::exp(at::arange(half, fp32) * (-std::log(10000.0) / static_cast<double>(half)));
  const at::Tensor angle = at::outer(timesteps.to(fp32), frequency);
  const at::Tensor wave = at::cat({angle.cos(), angle.sin()}, -1);  // [groups, freq_dim]
  // The reference keeps time_embedder in fp32 and narrows its output to the model's dtype.
  const at::Tensor embedding = time_2_(at::silu(time_1_(wave))).to(placement_.dtype);
  return {embedding, time_proj_(at::silu(embedding)).unflatten(-1, {6, -1}).to(at::kFloat), {}};
}

TextContext Transformer::text_context(const at::Tensor& prompt_embeds, const at::Tensor& image_embeds) const {
  const NvtxRange range("text context");
  check(prompt_embeds.dim() == 3 && prompt_embeds.size(2) == config_.text_dim,
        "prompt embeddings: expected [batch, tokens, {}], got [{}]", config_.text_dim,
        fmt::join(prompt_embeds.sizes(), ", "));
  const at::Tensor input = prompt_embeds.to(placement_.device, placement_.dtype);
  const at::Tensor text = text_2_(at::gelu(text_1_(input), "tanh"));  // [batch, text tokens, dim]
  check(image_embeds.defined() == image_.has_value(), "image embeddings: {} given, the transformer takes {}",
        image_embeds.defined() ? "some" : "none", image_ ? "some" : "none");
  at::Tensor image;
  if (image_)
    image = image_->forward(image_embeds.to(placement_.device, placement_.dtype)).expand({text.size(0), -1, -1});
  TextContext context;
  context.layers.resize(config_.num_layers);
  for (int64_t i = parts_.layers.begin; i < parts_.layers.end; ++i)
    if (parts_.layers.holds(i, kCrossAttention))
      context.layers[i] = layers_[i - parts_.layers.begin].text_key_value(text, image);
  return context;
}

at::Tensor Transformer::embed(const at::Tensor& latents) const {
  const NvtxRange range("embed");
  check(patch_weight_.defined(), "embed(): this rank does not hold the patch embedding");
  const TokenGrid tokens = grid(latents.sizes());
  const auto& patch = config_.patch_size;
  // A convolution whose stride is its kernel is a product of each patch with the weights.
  const at::Tensor patches = latents.to(placement_.device, placement_.dtype)
                                 .reshape({latents.size(0), latents.size(1), tokens.frames, patch[0], tokens.height,
                                           patch[1], tokens.width, patch[2]})
                                 .permute({0, 2, 4, 6, 1, 3, 5, 7})
                                 .reshape({latents.size(0), tokens.tokens(), -1});
  return at::linear(patches, patch_weight_, patch_bias_);  // [batch, tokens, dim]
}

void Transformer::forward_layers(LayerRange range, at::Tensor& hidden, const TimeConditioning& time,
                                 const TextContext& text, const RotaryTable& rotary, SelfAttention& attention) const {
  const LayerRange& held = parts_.layers;
  check(held.begin <= range.begin && range.end <= held.end && (range.begin > held.begin || range.from >= held.from) &&
            (range.end < held.end || range.to <= held.to),
        "layers {}..{} asked for, this rank holds {}..{}", range.begin, range.end, held.begin, held.end);
  const int64_t tokens = rotary.tokens(), carried = range.carried_in(tokens);
  check(hidden.size(1) == tokens + carried, "{} tokens, but {} rotary positions{}", hidden.size(1), tokens,
        carried > 0 ? fmt::format(" and {} tokens that are done already", carried) : "");
  for (int64_t i = range.begin; i < range.end; ++i)
    layers_[i - held.begin].forward(i, range.share(i, tokens), hidden, time, text.layers[i], rotary, attention);
}

at::Tensor Transformer::head(const at::Tensor& hidden, const TimeConditioning& time, const TokenGrid& grid) const {
  return unpatchify(project(hidden, time), grid);
}

at::Tensor Transformer::project(const at::Tensor& hidden, const TimeConditioning& time) const {
  const NvtxRange range("head");
  check(proj_out_.weight.defined(), "project(): this rank does not hold the head");
  const auto modulation = (scale_shift_table_ + time.embedding.unsqueeze(1)).unbind(1);  // shift, scale
  return proj_out_(modulated_norm(hidden, modulation[1] + 1, modulation[0], config_.eps));
}

at::Tensor Transformer::unpatchify(const at::Tensor& patches, const TokenGrid& grid) const {
  check(patches.size(1) == grid.tokens(), "unpatchify(): {} tokens, expected {}", patches.size(1), grid.tokens());
  const auto& patch = config_.patch_size;
  return patches.reshape({patches.size(0), grid.frames, grid.height, grid.width, patch[0], patch[1], patch[2], -1})
      .permute({0, 7, 1, 4, 2, 5, 3, 6})
      .reshape({patches.size(0), config_.out_channels, grid.frames * patch[0], grid.height * patch[1],
                grid.width * patch[2]});
}

}  // namespace dualparal
