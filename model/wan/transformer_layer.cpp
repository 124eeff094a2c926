// SPDX-License-Identifier: Apache-2.0
#include "base/measure/nvtx.h"
#include "model/ops/attention.h"
#include "model/ops/ops.h"
#include "model/wan/token_groups.h"
#include "model/wan/transformer.h"

namespace dualparal {
namespace {

// What works in place on all tokens, on some of them.
template <class Work>
void on_tokens(at::Tensor& hidden, const TokenSpan& span, Work&& work) {
  if (span.size() == hidden.size(1)) return work(hidden);
  const at::Tensor place = hidden.slice(1, span.begin, span.end);
  at::Tensor tokens = place.contiguous();
  work(tokens);
  if (!tokens.is_same(place)) place.copy_(tokens);
}

}  // namespace

TransformerLayer::TransformerLayer(const TransformerConfig& config, const WeightScope& layer, const Held& held)
    : heads_(config.num_attention_heads), eps_(config.eps) {
  const int64_t dim = config.dim();
  const WeightScope self = (layer / "attn1").only_if(held[kSelfAttention]);
  const WeightScope cross = (layer / "attn2").only_if(held[kCrossAttention]);
  qkv_ = Linear::stacked(self, {"to_q", "to_k", "to_v"}, dim, dim);
  norm_q_ = (self / "norm_q").read("weight", {dim});
  norm_k_ = (self / "norm_k").read("weight", {dim});
  out_ = Linear(self / "to_out.0", dim, dim);
  cross_q_ = Linear(cross / "to_q", dim, dim);
  cross_kv_ = Linear::stacked(cross, {"to_k", "to_v"}, dim, dim);
  cross_norm_q_ = (cross / "norm_q").read("weight", {dim});
  cross_norm_k_ = (cross / "norm_k").read("weight", {dim});
  cross_out_ = Linear(cross / "to_out.0", dim, dim);
  if (config.image_dim > 0) {
    image_k_ = Linear(cross / "add_k_proj", config.added_kv_proj_dim, dim);
    image_v_ = Linear(cross / "add_v_proj", config.added_kv_proj_dim, dim);
    image_norm_k_ = (cross / "norm_added_k").read("weight", {dim});
    // Published checkpoints have a norm of image queries, which nothing uses.
    if (const std::string unused = cross.prefix + "norm_added_q.weight"; cross.source.contains(unused))
      cross.source.skip(unused, {dim});
  }
  if (config.cross_attn_norm) {
    const WeightScope norm = (layer / "norm2").only_if(held[kCrossAttention]);
    cross_norm_weight_ = norm.read("weight", {dim}, at::kFloat);
    cross_norm_bias_ = norm.read("bias", {dim}, at::kFloat);
  }
  const WeightScope feed_forward = (layer / "ffn.net").only_if(held[kFeedForward]);
  up_ = Linear(feed_forward / "0.proj", dim, config.ffn_dim);
  down_ = Linear(feed_forward / "2", config.ffn_dim, dim);
  scale_shift_table_ =
      layer.only_if(held[kSelfAttention] || held[kFeedForward]).read("scale_shift_table", {1, 6, dim}, at::kFloat);
}

TextContext::KeyValue TransformerLayer::text_key_value(const at::Tensor& text, const at::Tensor& image) const {
  const auto parts = cross_kv_(text).chunk(2, -1);
  at::Tensor key = parts[0].contiguous();
  rms_norm_(key, cross_norm_k_, eps_);
  const auto by_head = [&](const at::Tensor& x) { return x.unflatten(-1, {heads_, -1}).transpose(1, 2).contiguous(); };
  TextContext::KeyValue out{by_head(key), by_head(parts[1])};  // [batch, heads, text tokens, head_dim]
  if (!image.defined()) return out;
  key = image_k_(image);
  rms_norm_(key, image_norm_k_, eps_);
  out.image_key = by_head(key);
  out.image_value = by_head(image_v_(image));
  return out;
}

void TransformerLayer::forward(int64_t index, const LayerShare& share, at::Tensor& hidden, const TimeConditioning& time,
                               const TextContext::KeyValue& text, const RotaryTable& rotary,
                               SelfAttention& attention) const {
  const NvtxRange range("layer {}", index);
  // shift, scale, gate of self-attention, then of the feed-forward part: 6 x [groups, dim]
  std::vector<at::Tensor> modulation;
  if (scale_shift_table_.defined()) modulation = (scale_shift_table_ + time.modulation).unbind(1);
  const auto& [queries, through_cross, through_feed_forward] = share;
  if (queries.size() == rotary.tokens())
    self_attention(index, hidden, modulation, rotary, time.sight.get(), attention);
  else if (queries.size() > 0)
    shared_self_attention(index, queries, hidden, modulation, rotary, time.sight.get(), attention);
  if (through_cross.size() > 0) {
    const NvtxRange cross_range("layer {} cross-attention", index);
    on_tokens(hidden, through_cross, [&](at::Tensor& tokens) { cross_attention(tokens, text); });
  }
  if (through_feed_forward.size() > 0) {
    const NvtxRange feed_forward_range("layer {} feed-forward", index);
    const auto own = groups_of(modulation, through_feed_forward, hidden.size(1));
    on_tokens(hidden, through_feed_forward, [&](at::Tensor& tokens) { feed_forward(tokens, own); });
  }
}

void TransformerLayer::self_attention(int64_t index, at::Tensor& hidden, const std::vector<at::Tensor>& modulation,
                                      const RotaryTable& rotary, const FrameSight* sight,
                                      SelfAttention& attention) const {
  const NvtxRange range("layer {} self-attention", index);
  const auto attended = [&] {  // nothing but this is left of what it is made from
    const auto qkv = qkv_(modulated_norm(hidden, modulation[1] + 1, modulation[0], eps_)).chunk(3, -1);
    const auto by_head = [&](const at::Tensor& x) { return x.unflatten(-1, {heads_, -1}); };
    return attention.attend({index,
                             by_head(qkv[0]),
                             by_head(qkv[1]),
                             by_head(qkv[2]),
                             rotary,
                             sight,
                             {norm_q_, eps_},
                             {norm_k_, eps_}});  // views of one [batch, tokens, 3 * dim]
  };
  add_gated_(hidden, out_(attended().flatten(2)), modulation[2]);
}

void TransformerLayer::cross_attention(at::Tensor& hidden, const TextContext::KeyValue& text) const {
  const int64_t dim = hidden.size(-1);
  at::Tensor query = cross_q_(cross_norm_weight_.defined() ? modulated_norm(hidden, cross_norm_weight_.unsqueeze(0),
                                                                            cross_norm_bias_.unsqueeze(0), eps_)
                                                           : hidden);
  rms_norm_(query, cross_norm_q_, eps_);
  const at::Tensor by_head = query.unflatten(-1, {heads_, -1}).transpose(1, 2);
  at::Tensor attended = attention(by_head, text.key, text.value);
  if (text.image_key.defined()) attended = attended + attention(by_head, text.image_key, text.image_value);
  hidden.add_(cross_out_(attended.transpose(1, 2).reshape({hidden.size(0), hidden.size(1), dim})));
}

void TransformerLayer::feed_forward(at::Tensor& hidden, const std::vector<at::Tensor>& modulation) const {
  const at::Tensor inner = up_.gelu(modulated_norm(hidden, modulation[4] + 1, modulation[3], eps_));
  add_gated_(hidden, down_(inner), modulation[5]);  // inner: [batch, tokens, ffn_dim]
}

}  // namespace dualparal
