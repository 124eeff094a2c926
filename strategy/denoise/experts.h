// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include "base/errors.h"
#include "model/wan/transformer.h"

namespace dualparal {

/// A rank's layers of the model's transformer, or of both experts of a model with two: the first predicts at high noise
/// levels, the second at low ones (Request::boundary_timestep). The transformers must outlive it.
class Experts {
 public:
  /// The only transformer.
  Experts(const Transformer& only) : experts_{&only, nullptr} {}  // NOLINT: a transformer is its own expert
  /// Error if they differ in more than their weights.
  Experts(const Transformer& high, const Transformer& low) : experts_{&high, &low} {
    check(high.config() == low.config(), "the two experts' configurations differ");
  }

  int64_t count() const { return experts_[1] ? 2 : 1; }
  const Transformer& operator[](int64_t expert) const {
    check(expert >= 0 && expert < count(), "expert {} was asked for, there are {}", expert, count());
    return *experts_.at(static_cast<size_t>(expert));
  }
  /// What they have in common.
  const TransformerConfig& config() const { return experts_[0]->config(); }
  const RotaryEmbedding& rotary() const { return experts_[0]->rotary(); }
  int64_t weights_bytes() const {
    return experts_[0]->weights_bytes() + (experts_[1] ? experts_[1]->weights_bytes() : 0);
  }

 private:
  std::array<const Transformer*, 2> experts_;
};

}  // namespace dualparal
