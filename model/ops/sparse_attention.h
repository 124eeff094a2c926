// SPDX-License-Identifier: Apache-2.0
// Attention over the frames that a FrameSight lets each frame see: their keys and values are gathered for a few frames
// at a time, and the kernel for dense attention does the rest. Costs what is seen, and a copy of the keys at a time.
#pragma once

#include <ATen/ATen.h>

#include "model/ops/frame_sight.h"

namespace dualparal {

/// All tokens of the video. query, key, value: [batch, tokens, heads, head_dim] -> the same shape.
at::Tensor sparse_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const FrameSight& sight);

/// Some of its tokens, over keys that come in parts (see PartialAttention).
class PartialSparseAttention {
 public:
  /// queries: which tokens of the video they are. `sight` must outlive it.
  PartialSparseAttention(const FrameSight& sight, const TokenSpan& queries) : sight_(sight), queries_(queries) {}

  /// Attends to the keys [keys.begin, keys.end) of the video, as far as they are seen. query: [batch, queries, heads,
  /// head_dim]; key, value: [batch, keys, heads, head_dim].
  void add(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const TokenSpan& keys);

  /// Over all keys added: [batch, queries, heads, head_dim] in the query's dtype. Every query must have seen one.
  at::Tensor result() const;

 private:
  const FrameSight& sight_;
  TokenSpan queries_;
  at::Tensor output_;  // [batch, queries, heads, head_dim] fp32
  at::Tensor weight_;  // log-sum-exp of the scores, [batch, queries, heads, 1] fp32; -inf: nothing seen yet
  at::ScalarType dtype_ = at::kFloat;
};

}  // namespace dualparal
