// SPDX-License-Identifier: Apache-2.0
// DeepSpeed-Ulysses (arXiv 2309.14509): ranks that hold some tokens each, with all heads, exchange them for all tokens
// of some heads, and back.
#pragma once

#include <vector>

#include "strategy/parallel/exchange.h"
#include "strategy/parallel/ranges.h"

namespace dualparal {

class HeadExchange {
 public:
  /// ranks: those that share the sequence; own: this rank's place among them.
  HeadExchange(Exchange& exchange, std::vector<int64_t> ranks, int64_t own)
      : exchange_(exchange), ranks_(std::move(ranks)), own_(own) {}

  /// Heads of each rank: as evenly as they go, none on some if there are more ranks than heads.
  std::vector<Range> heads(int64_t count) const { return even_ranges(count, static_cast<int64_t>(ranks_.size())); }
  /// tokens: of each rank. Tensors [batch, own tokens, heads, head_dim] -> as many [batch, all tokens, own heads,
  /// head_dim], in one message for each rank.
  std::vector<at::Tensor> to_heads(const std::vector<at::Tensor>& tensors, const std::vector<Range>& tokens);
  /// And back: attended: [batch, all tokens, own heads, head_dim] -> [batch, own tokens, heads, head_dim]. heads: of
  /// all ranks.
  at::Tensor to_tokens(const at::Tensor& attended, const std::vector<Range>& tokens, int64_t heads);

 private:
  Exchange& exchange_;
  std::vector<int64_t> ranks_;
  int64_t own_;
};

}  // namespace dualparal
