// SPDX-License-Identifier: Apache-2.0
// What is to be generated: the same for every strategy.
#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <vector>

#include "model/ops/rotary.h"
#include "model/sampling/sampler.h"
#include "strategy/denoise/lvsa.h"

namespace dualparal {

/// A prompt that blocks, clips and windows take whose first own frame is `first_frame` or later.
struct LaterPrompt {
  int64_t first_frame = 0;  ///< latent frame, at least 1
  at::Tensor embeds;        ///< [1, text tokens, text_dim]
};

struct Request {
  int64_t latent_frames = 0;
  int64_t latent_height = 0;
  int64_t latent_width = 0;
  int64_t channels = 16;

  SamplerKind sampler = SamplerKind::kUniPC;
  SchedulerConfig scheduler;
  int64_t num_inference_steps = 50;
  double guidance_scale = 5.0;                  ///< 1 or less: no classifier-free guidance
  std::optional<double> guidance_scale_2 = {};  ///< of the second expert; none: guidance_scale
  double boundary_timestep = 0;  ///< below it, the second of two experts predicts; 0: there is one transformer

  at::Tensor prompt_embeds;           ///< [1, text tokens, text_dim]
  at::Tensor negative_prompt_embeds;  ///< [1, text tokens, text_dim]
  /// Ascending by frame; until the first of them, prompt_embeds. For strategies with PromptScope kBlock or kWindow.
  std::vector<LaterPrompt> later_prompts = {};

  /// Of a model that makes videos from an image, else undefined.
  at::Tensor image_embeds = {};  ///< [1, image tokens, image_dim], for models with an image encoder
  at::Tensor condition = {};     ///< [1, mask and latent channels, frames, h, w] fp32, beside the latents of each frame
  /// An image given as the video's first latent frame, [1, channels, 1, h, w] fp32: it takes that frame's place
  /// whenever the transformer sees it, with timestep 0 whatever the others' is, and in the finished video. Else
  /// undefined.
  at::Tensor first_frame = {};

  uint64_t seed = 0;
  at::Tensor initial_noise;  ///< [1, channels, frames, h, w] fp32, or undefined: noise comes from the seed

  std::optional<Lvsa> sparse_attention = {};  ///< whole-sequence strategies only
  RotaryScaling riflex = {};                  ///< whole-sequence strategies only

  bool guided() const { return guidance_scale > 1.0; }
  int64_t experts() const { return boundary_timestep > 0 ? 2 : 1; }
};

/// The first step that the second expert takes, of `schedule`; as many as there are steps without one.
int64_t second_expert_from(const Request& request, const Schedule& schedule);

}  // namespace dualparal
