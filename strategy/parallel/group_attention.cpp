// SPDX-License-Identifier: Apache-2.0
#include "strategy/parallel/group_attention.h"

namespace dualparal {
namespace {

// The norm is over all heads of a token, so it comes before the heads part.
at::Tensor normalised(const at::Tensor& x, const HeadNorm& norm) {
  if (!norm.weight.defined()) return x;
  at::Tensor tokens = x.flatten(2);  // [batch, tokens, dim]
  rms_norm_(tokens, norm.weight, norm.eps);
  return tokens.unflatten(2, {x.size(2), -1});
}

}  // namespace

void GroupAttention::begin(SelfAttention& inner, const RotaryTable& window, std::vector<Range> tokens) {
  inner_ = &inner;
  window_ = &window;
  tokens_ = std::move(tokens);
}

at::Tensor GroupAttention::attend(const AttentionInput& input) {
  exchange_.begin_layer(input.layer);
  if (input.queries) return attend_some(input);
  const auto split = heads_.to_heads(
      {normalised(input.query, input.query_norm), normalised(input.key, input.key_norm), input.value}, tokens_);
  const bool attends = split[0].size(2) > 0;  // with more ranks than heads, some have none
  const at::Tensor attended =
      attends ? inner_->attend({input.layer, split[0], split[1], split[2], *window_, input.sight}) : split[0];
  return heads_.to_tokens(attended, tokens_, input.query.size(2));
}

// Where two stages share the layer's self-attention: each rank has queries of its own tokens, and keys of all of them.
at::Tensor GroupAttention::attend_some(const AttentionInput& input) {
  std::vector<Range> queries;  // of each rank, among all queries
  std::vector<at::Tensor> cos, sin;
  for (const Range& tokens : tokens_) {
    const TokenSpan span = layers_.share(input.layer, tokens.size())[kSelfAttention];
    const int64_t before = queries.empty() ? 0 : queries.back().end;
    queries.push_back({before, before + span.size()});
    cos.push_back(window_->cos.slice(0, tokens.begin + span.begin, tokens.begin + span.end));
    sin.push_back(window_->sin.slice(0, tokens.begin + span.begin, tokens.begin + span.end));
  }
  const RotaryTable positions{at::cat(cos), at::cat(sin)};
  const at::Tensor query = heads_.to_heads({normalised(input.query, input.query_norm)}, queries)[0];
  const auto key_value = heads_.to_heads({normalised(input.key, input.key_norm), input.value}, tokens_);
  at::Tensor attended = query;
  if (query.size(2) > 0)
    attended = inner_->attend({.layer = input.layer,
                               .query = query,
                               .key = key_value[0],
                               .value = key_value[1],
                               .rotary = *window_,
                               .sight = input.sight,
                               .queries = {},
                               .some_rotary = &positions});
  return heads_.to_tokens(attended, queries, input.query.size(2));
}

}  // namespace dualparal
