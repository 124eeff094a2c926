// SPDX-License-Identifier: Apache-2.0
#include "model/wan/text_encoder.h"

#include <cmath>

#include "base/errors.h"
#include "base/measure/nvtx.h"

namespace dualparal {
namespace {

// T5's buckets of relative positions, both directions: exact for near tokens, logarithmic for far ones.
int64_t position_bucket(int64_t key_minus_query, int64_t buckets, int64_t max_distance) {
  const int64_t half = buckets / 2;
  const int64_t exact = half / 2;
  const int64_t distance = std::abs(key_minus_query);
  int64_t bucket = distance;
  if (distance >= exact) {
    // In fp32 as the reference does: a bucket's border must not move.
    const float ratio = std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
                        static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact)));
    bucket = std::min(exact + static_cast<int64_t>(ratio * static_cast<float>(half - exact)), half - 1);
  }
  return bucket + (key_minus_query > 0 ? half : 0);
}

at::Tensor position_buckets(int64_t tokens, const TextEncoderConfig& config) {
  at::Tensor table = at::empty({tokens, tokens}, at::kLong);  // [query, key]
  auto access = table.accessor<int64_t, 2>();
  for (int64_t query = 0; query < tokens; ++query)
    for (int64_t key = 0; key < tokens; ++key)
      access[query][key] =
          position_bucket(key - query, config.relative_attention_num_buckets, config.relative_attention_max_distance);
  return table;
}

}  // namespace

TextEncoder::TextEncoder(const TextEncoderConfig& config, WeightSource& weights)
    : config_(config), placement_(weights.placement()) {
  const int64_t before = weights.held_bytes();
  const int64_t inner = config.num_heads * config.d_kv;
  const WeightScope root{weights, ""};
  embedding_ = root.read("shared.weight", {config.vocab_size, config.d_model});
  // The embedding is stored under two names in some files.
  if (weights.contains("encoder.embed_tokens.weight"))
    weights.skip("encoder.embed_tokens.weight", {config.vocab_size, config.d_model});
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const WeightScope block = root / "encoder.block" / std::to_string(i);
    const WeightScope attention = block / "layer.0", feed_forward = block / "layer.1";
    const WeightScope dense = feed_forward / "DenseReluDense";
    const WeightScope self = attention / "SelfAttention";
    Layer layer;
    layer.attention_norm = (attention / "layer_norm").read("weight", {config.d_model});
    layer.qkv.weight = self.read_stacked({"q.weight", "k.weight", "v.weight"}, {inner, config.d_model});
    layer.out = Linear(self / "o", inner, config.d_model, /*with_bias=*/false);
    layer.position_bias =
        (self / "relative_attention_bias").read("weight", {config.relative_attention_num_buckets, config.num_heads});
    layer.feed_forward_norm = (feed_forward / "layer_norm").read("weight", {config.d_model});
    layer.gate_and_up.weight = dense.read_stacked({"wi_0.weight", "wi_1.weight"}, {config.d_ff, config.d_model});
    layer.down = Linear(dense / "wo", config.d_ff, config.d_model, /*with_bias=*/false);
    layers_.push_back(std::move(layer));
  }
  final_norm_ = (root / "encoder.final_layer_norm").read("weight", {config.d_model});
  weights.refuse_surplus();
  weights_bytes_ = weights.held_bytes() - before;
}

at::Tensor TextEncoder::norm(const at::Tensor& x, const at::Tensor& weight) const {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor scaled = x * at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + config_.layer_norm_epsilon);
  return scaled.to(weight.scalar_type()) * weight;
}

at::Tensor TextEncoder::encode(const std::vector<int64_t>& token_ids, int64_t length) const {
  const NvtxRange range("text encode");
  const auto tokens = static_cast<int64_t>(token_ids.size());
  check(tokens <= length, "text encoder: {} tokens, expected at most {}", tokens, length);
  for (const int64_t id : token_ids)
    check(0 <= id && id < config_.vocab_size, "text encoder: token {} is outside the vocabulary of {}", id,
          config_.vocab_size);
  const at::Tensor ids = at::tensor(token_ids, at::kLong).to(placement_.device);
  const at::Tensor buckets = position_buckets(tokens, config_).to(placement_.device);
  at::Tensor x = at::embedding(embedding_, ids).unsqueeze(0);  // [1, tokens, d_model]
  for (const Layer& layer : layers_) {
    const auto qkv = layer.qkv(norm(x, layer.attention_norm)).unflatten(-1, {3, config_.num_heads, config_.d_kv});
    const auto part = [&](int64_t i) { return qkv.select(2, i).transpose(1, 2); };  // [1, heads, tokens, d_kv]
    const at::Tensor bias = at::embedding(layer.position_bias, buckets).permute({2, 0, 1}).unsqueeze(0);
    // T5 does not scale the product of query and key.
    const at::Tensor scores = at::matmul(part(0), part(1).transpose(-1, -2)) + bias;
    const at::Tensor attended = at::matmul(at::softmax(scores, -1), part(2));
    x = x + layer.out(attended.transpose(1, 2).flatten(2));
    const auto inner = layer.gate_and_up(norm(x, layer.feed_forward_norm)).chunk(2, -1);
    x = x + layer.down(at::gelu(inner[0], "tanh") * inner[1]);
  }
  x = norm(x, final_norm_);
  return at::constant_pad_nd(x, {0, 0, 0, length - tokens});
}

}  // namespace dualparal
