// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/ops/self_attention.h"

namespace dualparal {

/// Self-attention over exactly the tokens that this rank processes, or, of a whole video, over the frames that are
/// seen.
class LocalAttention final : public SelfAttention {
 public:
  at::Tensor attend(const AttentionInput& input) override;
};

}  // namespace dualparal
