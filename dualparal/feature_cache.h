// SPDX-License-Identifier: Apache-2.0
// Self-attention that also sees the next block's first frames, through keys and values kept from the moment when that
// block went through the same layer, earlier in the same iteration.
#pragma once

#include <map>

#include "model/rotary.h"
#include "model/self_attention.h"

namespace dualparal {

class FeatureCache final : public SelfAttention {
 public:
  struct KeyValue {
    at::Tensor key;    ///< [batch, cached tokens, heads, head_dim] normalised, rotary embedding not applied
    at::Tensor value;  ///< [batch, cached tokens, heads, head_dim]
  };

  explicit FeatureCache(const RotaryEmbedding& rotary) : rotary_(rotary) {}

  /// The job that attend() will be called for next. grid: its window; of whose frames [store_begin, store_end) the
  /// keys and values are kept for the job after it (none if empty).
  void begin_job(const TokenGrid& grid, int64_t store_begin, int64_t store_end);
  /// A new iteration: the block at the tail sees no next block.
  void clear() { layers_.clear(); }

  at::Tensor attend(const AttentionInput& input) override;

  /// What is kept, by layer.
  const std::map<int64_t, KeyValue>& layers() const { return layers_; }

 private:
  const RotaryEmbedding& rotary_;
  TokenGrid grid_;
  int64_t store_begin_ = 0, store_end_ = 0;
  std::map<int64_t, KeyValue> layers_;
  std::map<std::pair<int64_t, int64_t>, RotaryTable> tables_;  // by first position and number of cached frames
};

}  // namespace dualparal
