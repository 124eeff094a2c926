// SPDX-License-Identifier: Apache-2.0
#include "baselines/sequence_attention.h"

#include "base/measure/nvtx.h"
#include "model/ops/attention.h"
#include "model/ops/sparse_attention.h"
#include "strategy/parallel/head_exchange.h"

namespace dualparal {
namespace {

// Attention over keys that come one after the other, all of them or those that are seen.
class ArrivingKeys {
 public:
  ArrivingKeys(const FrameSight* sight, const TokenSpan& queries) {
    if (sight) sparse_.emplace(*sight, queries);
  }
  void add(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const TokenSpan& keys) {
    if (sparse_)
      sparse_->add(query, key, value, keys);
    else
      dense_.add(query, key, value);
  }
  at::Tensor result() const { return sparse_ ? sparse_->result() : dense_.result(); }

 private:
  PartialAttention dense_;
  std::optional<PartialSparseAttention> sparse_;
};

}  // namespace

std::vector<int64_t> SequenceGroup::ulysses_ranks() const {
  const auto first = ranks.begin() + ring_index() * ulysses_degree;
  return {first, first + ulysses_degree};
}

std::vector<int64_t> SequenceGroup::ring_ranks() const {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < ring_degree; ++i) out.push_back(ranks[i * ulysses_degree + ulysses_index()]);
  return out;
}

SequenceAttention::SequenceAttention(Exchange& exchange, SequenceGroup group, std::vector<Range> tokens)
    : exchange_(exchange), group_(std::move(group)), tokens_(std::move(tokens)) {
  ulysses_index_ = group_.ulysses_index();
  ring_index_ = group_.ring_index();
  ulysses_ = group_.ulysses_ranks();
  ring_ = group_.ring_ranks();
}

// The tokens that a place of the ring brings.
TokenSpan SequenceAttention::tokens_at(int64_t place) const {
  const int64_t degree = group_.ulysses_degree;
  return {tokens_[place * degree].begin, tokens_[(place + 1) * degree - 1].end};
}

at::Tensor SequenceAttention::attend(const AttentionInput& input) {
  exchange_.begin_layer(input.layer);
  const at::Tensor query = input.placed_query(), key = input.placed_key();
  if (group_.ulysses_degree == 1) return around_ring(query, key, input.value, input.sight);
  HeadExchange heads(exchange_, ulysses_, ulysses_index_);
  const auto first = tokens_.begin() + ring_index_ * group_.ulysses_degree;
  const std::vector<Range> shared(first, first + group_.ulysses_degree);
  const auto split = heads.to_heads({query, key, input.value}, shared);
  const at::Tensor attended = split[0].size(2) > 0 ? around_ring(split[0], split[1], split[2], input.sight) : split[0];
  return heads.to_tokens(attended, shared, query.size(2));
}

// Keys and values go on to the next place of the ring while this one attends to them. All of them travel, as somebody
// sees each; of those at hand, only what is seen here takes part.
at::Tensor SequenceAttention::around_ring(const at::Tensor& query, at::Tensor key, at::Tensor value,
                                          const FrameSight* sight) {
  const int64_t degree = group_.ring_degree;
  if (degree == 1 && sight) return sparse_attention(query, key, value, *sight);
  if (degree == 1)
    return dualparal::attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)).transpose(1, 2);
  const int64_t next = ring_[(ring_index_ + 1) % degree], previous = ring_[(ring_index_ + degree - 1) % degree];
  ArrivingKeys attention(sight, tokens_at(ring_index_));
  at::Tensor pair = at::stack({key, value});
  for (int64_t hop = 0; hop < degree; ++hop) {
    const NvtxRange range("ring hop {}", hop);
    Exchange::Incoming incoming;
    if (hop + 1 < degree) {
      const int64_t coming = tokens_at((ring_index_ + degree - hop - 1) % degree).size();
      incoming = exchange_.receive({2, key.size(0), coming, key.size(2), key.size(3)}, key.options(), previous);
      exchange_.send(pair, next);
    }
    attention.add(query, key, value, tokens_at((ring_index_ + degree - hop) % degree));
    if (hop + 1 == degree) break;
    pair = incoming.take();
    key = pair[0];
    value = pair[1];
    exchange_.finish_sends(1);
  }
  exchange_.finish_sends();
  return attention.result();
}

}  // namespace dualparal
