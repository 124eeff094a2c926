// SPDX-License-Identifier: Apache-2.0
// What a layer's self-attention sees. The transformer calls the policy; strategies supply it.
#pragma once

#include <ATen/ATen.h>

#include "model/ops/frame_sight.h"
#include "model/ops/rotary.h"

namespace dualparal {

/// One layer's projections of the tokens that this rank processes.
struct AttentionInput {
  int64_t layer;              ///< index in the whole model
  at::Tensor query;           ///< [batch, tokens, heads, head_dim] normalised, rotary embedding not yet applied
  at::Tensor key;             ///< [batch, tokens, heads, head_dim] normalised, rotary embedding not yet applied
  at::Tensor value;           ///< [batch, tokens, heads, head_dim]
  const RotaryTable& rotary;  ///< positions of these tokens
  /// Which frames of the whole video each frame sees; null: all. Policies of whole-sequence strategies heed it.
  const FrameSight* sight = nullptr;
};

class SelfAttention {
 public:
  virtual ~SelfAttention() = default;
  /// Returns the attention's output, [batch, tokens, heads, head_dim]. May overwrite query and key.
  virtual at::Tensor attend(const AttentionInput& input) = 0;
};

}  // namespace dualparal
