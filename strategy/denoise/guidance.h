// SPDX-License-Identifier: Apache-2.0
// Classifier-free guidance: a conditional and an unconditional prediction, together or apart.
#pragma once

#include <ATen/ATen.h>

#include "strategy/denoise/request.h"
#include "strategy/options.h"

namespace dualparal {

/// Which halves of classifier-free guidance are computed, and how. Without guidance there is one half, the conditional.
enum class GuidanceHalves {
  kBatched,      ///< both, as a batch of two
  kInTurn,       ///< both, as two micro-batches one after the other
  kConditional,  ///< one, on this rank; the other on another rank
  kUnconditional,
};

/// The flag --guidance-micro-batches: kBatched or kInTurn.
void declare_micro_batches(OptionSet& set, GuidanceHalves& halves);
/// How often the transformer runs for a prediction: 2 for both halves in turn, else 1.
int64_t micro_batches(GuidanceHalves halves, bool guided);
/// How much of both halves goes through the transformer at a time: 1/2 in turn, else 1.
inline double share_at_a_time(GuidanceHalves halves, bool guided) {
  return 1.0 / static_cast<double>(micro_batches(halves, guided));
}

/// Prompt embeddings as the transformer's batch: [2, text tokens, text_dim] (conditional first), or [1, ...]
/// without guidance.
at::Tensor guidance_batch(const Request& request);

/// The same latents for both halves: [1, ...] -> [2, ...] (a view), or as they are without guidance.
at::Tensor duplicate_for_guidance(const Request& request, const at::Tensor& latents);

/// [2, ...] -> [1, ...] fp32: unconditional + scale * (conditional - unconditional). second: with the second expert's
/// scale.
at::Tensor apply_guidance(const Request& request, const at::Tensor& prediction, bool second = false);

}  // namespace dualparal
