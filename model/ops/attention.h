// SPDX-License-Identifier: Apache-2.0
// Attention over a part of the keys, and putting the parts together: softmax over all keys is the parts' softmaxes
// weighted by their log-sum-exps (Ring Attention, arXiv 2310.01889; FlashAttention, arXiv 2205.14135).
#pragma once

#include <ATen/ATen.h>

namespace dualparal {

/// Scaled dot product attention by the fastest kernel that the device has. query: [batch, heads, tokens, head_dim];
/// key, value: [batch, heads, keys, head_dim] -> [batch, heads, tokens, head_dim].
at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);

/// Attention over a part of the keys, with what it weighs.
struct WeightedAttention {
  at::Tensor output;  ///< [batch, heads, tokens, head_dim]
  at::Tensor weight;  ///< log-sum-exp of the scores, [batch, heads, tokens, 1] fp32
};
/// By the kernel that attention() would take: strategies that merge parts must not differ from others by it.
/// query: [batch, heads, tokens, head_dim]; key, value: [batch, heads, keys, head_dim].
WeightedAttention weighted_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);

class PartialAttention {
 public:
  /// Attends to further keys. query: [batch, tokens, heads, head_dim], key, value: [batch, keys, heads, head_dim], any
  /// number of keys. bias: added to every score with these keys before the softmax.
  void add(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, double bias = 0);

  /// Over all keys added: [batch, tokens, heads, head_dim] in the query's dtype. At least one key must have been added.
  at::Tensor result() const;

 private:
  at::Tensor output_;  // [batch, heads, tokens, head_dim]; fp32 once there is more than one part
  at::Tensor weight_;  // log-sum-exp of the scores, [batch, heads, tokens, 1] fp32
  at::ScalarType dtype_ = at::kFloat;
};

}  // namespace dualparal
