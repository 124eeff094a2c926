// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/ops/self_attention.h"

namespace dualparal {

/// Self-attention over exactly the tokens that this rank processes.
class LocalAttention final : public SelfAttention {
 public:
  at::Tensor attend(const AttentionInput& input) override;
};

}  // namespace dualparal
