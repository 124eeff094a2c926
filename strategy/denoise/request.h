// SPDX-License-Identifier: Apache-2.0
// What is to be generated: the same for every strategy.
#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "model/ops/rotary.h"
#include "model/sampling/sampler.h"
#include "strategy/denoise/lvsa.h"

namespace dualparal {

struct Request {
  int64_t latent_frames = 0;
  int64_t latent_height = 0;
  int64_t latent_width = 0;
  int64_t channels = 16;

  SamplerKind sampler = SamplerKind::kUniPC;
  SchedulerConfig scheduler;
  int64_t num_inference_steps = 50;
  double guidance_scale = 5.0;  ///< 1 or less: no classifier-free guidance

  at::Tensor prompt_embeds;           ///< [1, text tokens, text_dim]
  at::Tensor negative_prompt_embeds;  ///< [1, text tokens, text_dim]

  uint64_t seed = 0;
  at::Tensor initial_noise;  ///< [1, channels, frames, h, w] fp32, or undefined: noise comes from the seed

  std::optional<Lvsa> sparse_attention = {};  ///< whole-sequence strategies only
  RotaryScaling riflex = {};                  ///< whole-sequence strategies only

  bool guided() const { return guidance_scale > 1.0; }
};

}  // namespace dualparal
