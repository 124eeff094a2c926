// SPDX-License-Identifier: Apache-2.0
// Classifier-free guidance: the conditional and the unconditional prediction run as a batch of two.
#pragma once

#include <ATen/ATen.h>

#include "strategy/denoise/request.h"

namespace dualparal {

/// Prompt embeddings as the transformer's batch: [2, text tokens, text_dim] (conditional first), or [1, ...]
/// without guidance.
at::Tensor guidance_batch(const Request& request);

/// The same latents for both halves: [1, ...] -> [2, ...] (a view), or as they are without guidance.
at::Tensor duplicate_for_guidance(const Request& request, const at::Tensor& latents);

/// [2, ...] -> [1, ...] fp32: unconditional + scale * (conditional - unconditional).
at::Tensor apply_guidance(const Request& request, const at::Tensor& prediction);

}  // namespace dualparal
