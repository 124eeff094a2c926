// SPDX-License-Identifier: Apache-2.0
// What a layer's self-attention sees. The transformer calls the policy; strategies supply it.
#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "model/ops/frame_sight.h"
#include "model/ops/ops.h"
#include "model/ops/rotary.h"

namespace dualparal {

/// One layer's projections of the tokens that this rank processes.
struct AttentionInput {
  int64_t layer;              ///< index in the whole model
  at::Tensor query;           ///< [batch, queries, heads, head_dim], neither normalised nor rotated
  at::Tensor key;             ///< [batch, tokens, heads, head_dim], neither normalised nor rotated
  at::Tensor value;           ///< [batch, tokens, heads, head_dim]
  const RotaryTable& rotary;  ///< positions of these tokens
  /// Which frames of the whole video each frame sees; null: all. Policies of whole-sequence strategies heed it.
  const FrameSight* sight = nullptr;
  HeadNorm query_norm = {}, key_norm = {};  ///< undefined: there is nothing to normalise
  /// Which of the tokens are queries, where this rank makes a layer's self-attention for some only; none: all.
  std::optional<TokenSpan> queries = {};
  /// Positions of the queries, where they are not all tokens. Policies of pipelines heed both.
  const RotaryTable* some_rotary = nullptr;

  /// Query and key as attention takes them, normalised and at their positions, in place of what was there.
  at::Tensor placed_query() const { return placed(query, query_norm, some_rotary ? *some_rotary : rotary); }
  at::Tensor placed_key() const { return placed(key, key_norm, rotary); }
  /// Keys of this layer from elsewhere, at positions of their own, in place.
  at::Tensor placed_key(const at::Tensor& other, const RotaryTable& at) const { return placed(other, key_norm, at); }
  static at::Tensor placed(at::Tensor x, const HeadNorm& norm, const RotaryTable& at) {
    norm_rotary(x, norm, at, x);
    return x;
  }
};

class SelfAttention {
 public:
  virtual ~SelfAttention() = default;
  /// Returns the attention's output, [batch, queries, heads, head_dim]. May overwrite query and key.
  virtual at::Tensor attend(const AttentionInput& input) = 0;
};

}  // namespace dualparal
