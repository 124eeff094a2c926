// SPDX-License-Identifier: Apache-2.0
// PipeFusion's self-attention: a patch of the sequence sees all of it, through keys and values that this stage keeps
// from the last time each of the other patches went through.
#pragma once

#include <map>

#include "model/ops/self_attention.h"
#include "strategy/parallel/ranges.h"

namespace dualparal {

class PatchCache final : public SelfAttention {
 public:
  struct KeyValue {
    at::Tensor key;    ///< [batch, tokens of the sequence, heads, head_dim], rotary embedding applied
    at::Tensor value;  ///< [batch, tokens of the sequence, heads, head_dim]
  };

  /// tokens: of the whole sequence.
  explicit PatchCache(int64_t tokens) : all_(tokens) {}

  /// What attend() will be called for next: the whole sequence, whose keys and values are kept if `keep`, or a patch,
  /// which puts its own in place of those kept. Patches need a sequence that was kept.
  void begin_job(const Range& tokens, bool keep) {
    job_ = tokens;
    keep_ = keep;
  }
  at::Tensor attend(const AttentionInput& input) override;

 private:
  int64_t all_;
  Range job_;
  bool keep_ = false;
  std::map<int64_t, KeyValue> kept_;  // by layer
};

}  // namespace dualparal
