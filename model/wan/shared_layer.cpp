// SPDX-License-Identifier: Apache-2.0
// A layer's self-attention where two stages of a pipeline share it: each makes it for some of the tokens, and both need
// the keys and values of all.
#include "base/measure/nvtx.h"
#include "model/ops/ops.h"
#include "model/wan/token_groups.h"
#include "model/wan/transformer.h"

namespace dualparal {

void TransformerLayer::shared_self_attention(int64_t index, const TokenSpan& queries, at::Tensor& hidden,
                                             const std::vector<at::Tensor>& modulation, const RotaryTable& rotary,
                                             const FrameSight* sight, SelfAttention& attention) const {
  const NvtxRange range("layer {} self-attention of tokens {}..{}", index, queries.begin, queries.end - 1);
  const int64_t tokens = rotary.tokens(), dim = hidden.size(2);
  const at::Tensor all = hidden.slice(1, 0, tokens);
  const at::Tensor normalised = modulated_norm(all, modulation[1] + 1, modulation[0], eps_);
  const auto project = [&](const at::Tensor& x, int64_t begin, int64_t end) {
    return at::linear(x, qkv_.weight.slice(0, begin * dim, end * dim), qkv_.bias.slice(0, begin * dim, end * dim));
  };
  const at::Tensor query = project(normalised.slice(1, queries.begin, queries.end), 0, 1);
  const auto key_value = project(normalised, 1, 3).chunk(2, -1);  // 2 x [batch, tokens, dim]
  const auto by_head = [&](const at::Tensor& x) { return x.unflatten(-1, {heads_, -1}); };
  const RotaryTable positions = rotary.cut(queries.begin, queries.end);
  const at::Tensor attended = attention.attend({.layer = index,
                                                .query = by_head(query),
                                                .key = by_head(key_value[0]),
                                                .value = by_head(key_value[1]),
                                                .rotary = rotary,
                                                .sight = sight,
                                                .query_norm = {norm_q_, eps_},
                                                .key_norm = {norm_k_, eps_},
                                                .queries = queries,
                                                .some_rotary = &positions});
  at::Tensor own = all.slice(1, queries.begin, queries.end).clone(at::MemoryFormat::Contiguous);
  add_gated_(own, out_(attended.flatten(2)), groups_of(modulation, queries, tokens)[2]);
  // Done before, and here; the rest is the next stage's, which needs all tokens as they were.
  std::vector<at::Tensor> parts;
  if (queries.end < tokens) parts.push_back(all);
  if (queries.begin > 0) parts.push_back(hidden.slice(1, tokens));
  parts.push_back(own);
  hidden = at::cat(parts, 1);
}

}  // namespace dualparal
