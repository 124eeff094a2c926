// SPDX-License-Identifier: Apache-2.0
// Any self-attention policy for a window whose tokens a group of ranks splits: each rank is handed all tokens of its
// heads, so what the policy keeps (a feature cache) is its heads', and keeping it costs no message.
#pragma once

#include <optional>

#include "model/ops/self_attention.h"
#include "model/wan/layer_range.h"
#include "strategy/parallel/head_exchange.h"

namespace dualparal {

class GroupAttention final : public SelfAttention {
 public:
  /// ranks: of the group; layers: those that it holds.
  GroupAttention(Exchange& exchange, const std::vector<int64_t>& ranks, int64_t own, const LayerRange& layers)
      : exchange_(exchange), heads_(exchange, ranks, own), layers_(layers), own_(own) {}

  /// What attend() will be called for next. inner, window (positions of all tokens) must outlive it; tokens: of each
  /// rank.
  void begin(SelfAttention& inner, const RotaryTable& window, std::vector<Range> tokens);
  at::Tensor attend(const AttentionInput& input) override;

 private:
  at::Tensor attend_some(const AttentionInput& input);

  Exchange& exchange_;
  HeadExchange heads_;
  LayerRange layers_;
  int64_t own_;
  SelfAttention* inner_ = nullptr;
  const RotaryTable* window_ = nullptr;
  std::vector<Range> tokens_;
};

}  // namespace dualparal
