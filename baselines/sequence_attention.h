// SPDX-License-Identifier: Apache-2.0
// Self-attention over a sequence that is split over ranks: heads within a Ulysses group (arXiv 2309.14509), keys and
// values around a ring of such groups (arXiv 2310.01889), or both (USP, arXiv 2405.07719).
#pragma once

#include <vector>

#include "model/ops/self_attention.h"
#include "strategy/parallel/exchange.h"
#include "strategy/parallel/ranges.h"

namespace dualparal {

/// Which ranks share a sequence, and how. Rank ranks[i] has Ulysses index i % ulysses_degree and ring index
/// i / ulysses_degree.
struct SequenceGroup {
  std::vector<int64_t> ranks;
  int64_t own = 0;  ///< this rank's place in `ranks`
  int64_t ulysses_degree = 1, ring_degree = 1;

  int64_t ulysses_index() const { return own % ulysses_degree; }
  int64_t ring_index() const { return own / ulysses_degree; }
  std::vector<int64_t> ulysses_ranks() const;  ///< of this rank's Ulysses group
  std::vector<int64_t> ring_ranks() const;     ///< of its ring
};

class SequenceAttention final : public SelfAttention {
 public:
  /// tokens: which tokens of the sequence each rank of the group holds.
  SequenceAttention(Exchange& exchange, SequenceGroup group, std::vector<Range> tokens);

  at::Tensor attend(const AttentionInput& input) override;

 private:
  at::Tensor around_ring(const at::Tensor& query, at::Tensor key, at::Tensor value, const FrameSight* sight);
  TokenSpan tokens_at(int64_t place) const;

  Exchange& exchange_;
  SequenceGroup group_;
  std::vector<Range> tokens_;
  std::vector<int64_t> ulysses_;  // ranks of this rank's Ulysses group
  std::vector<int64_t> ring_;     // ranks of its ring
  int64_t ulysses_index_ = 0, ring_index_ = 0;
};

}  // namespace dualparal
