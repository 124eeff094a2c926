// SPDX-License-Identifier: Apache-2.0
// What a prediction is: the transformer, told the prompt, the noise level and the positions of a window of latents, and
// classifier-free guidance. Strategies ask for predictions, or for their parts where ranks share the work.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "model/sampling/sampler.h"
#include "model/wan/transformer.h"
#include "strategy/denoise/experts.h"
#include "strategy/denoise/guidance.h"
#include "strategy/denoise/request.h"
#include "strategy/parallel/ranges.h"

namespace dualparal {

/// The noise level of a window, or of each of its frames, as the transformer or expert that predicts there is told.
class NoiseLevel {
 public:
  NoiseLevel() = default;
  NoiseLevel(int64_t expert, TimeConditioning time) : expert_(expert), time_(std::move(time)) {}
  /// A window with frames of both experts. second: [1, 1, frames, 1, 1], 1 for those of the second, else 0.
  NoiseLevel(const TimeConditioning& high, const TimeConditioning& low, const at::Tensor& second)
      : time_(high), second_time_(low), second_(second) {}

  bool mixed() const { return second_.defined(); }
  /// That predicts. Error where both do: such a window goes through Denoiser::predict only.
  int64_t expert() const;
  const TimeConditioning& time() const { return time_; }
  /// Of a mixed one: all frames, as told to one expert.
  NoiseLevel of(int64_t expert) const { return {expert, expert == 0 ? time_ : second_time_}; }
  const at::Tensor& second() const { return second_; }

  /// What the frame is told that an image gave (Request::first_frame): timestep 0.
  NoiseLevel& with_first_frame(TimeConditioning time) {
    first_frame_ = std::move(time);
    return *this;
  }
  const std::optional<TimeConditioning>& first_frame() const { return first_frame_; }

 private:
  int64_t expert_ = 0;
  TimeConditioning time_, second_time_;
  at::Tensor second_;
  std::optional<TimeConditioning> first_frame_;
};

/// What the transformer is told of a window of latents besides the latents.
struct Pass {
  Range frames;                 ///< of the video, that the window holds
  TokenGrid grid;               ///< of the window's frames
  std::optional<Range> tokens;  ///< those of the window that this rank processes; none: all
  RotaryTable rotary;           ///< positions of those tokens
  NoiseLevel time;              ///< see Denoiser::time
  int64_t prompt = 0;           ///< see Denoiser::prompt_at
};

class Denoiser {
 public:
  /// Request and transformers must outlive it. Computes the text context of the halves, for every expert. frames: of
  /// the video, whose prompts are needed; none: all.
  Denoiser(const Request& request, const Experts& experts, GuidanceHalves halves = GuidanceHalves::kBatched,
           std::optional<Range> frames = {});

  /// The first expert: for what all have in common (configuration, parts, device, dtype).
  const Transformer& transformer() const { return experts_[0]; }
  const at::Device& device() const { return transformer().device(); }
  const Schedule& schedule() const { return schedule_; }
  int64_t steps() const { return schedule_.steps(); }
  /// A sampler for one thing that is denoised on its own: a video, a clip, a block. It shows predictions to
  /// NumberWatch; who steps without it does that himself.
  std::unique_ptr<Sampler> make_sampler() const;
  /// Initial noise of latent frames of the video, on the device: [1, channels, frames, h, w] fp32.
  at::Tensor noise(const Range& frames) const;

  /// A window of these latent frames of the video, the first at temporal position `first_position`, without a noise
  /// level yet. With `tokens`, only those of the window's tokens.
  Pass pass(const Range& frames, int64_t first_position = 0, std::optional<Range> tokens = {}) const;
  TokenGrid grid(int64_t frames) const;
  /// The prompt of a block, clip or window whose first own frame this is. A latent frame outside of the video has that
  /// of the video's nearest.
  int64_t prompt_at(int64_t frame) const;
  /// One noise level for the whole window: that of a step of the schedule; with sparse attention, what is seen in it.
  NoiseLevel time(int64_t step) const;
  /// One for each of its latent frames.
  NoiseLevel time(const std::vector<int64_t>& steps) const;

  /// The guided prediction of a window. latents: [1, channels, frames, h, w] -> the same shape in fp32.
  at::Tensor predict(const Pass& pass, const at::Tensor& latents, SelfAttention& attention) const;

  /// Its parts. 1 or 2 (GuidanceHalves::kInTurn): how often embed, layers and head run for a prediction.
  int64_t micro_batches() const { return micro_batches_; }
  /// Halves that go through the transformer together.
  int64_t batch() const { return batch_; }
  /// [1, channels, frames, h, w] -> [batch, tokens of the pass, dim]
  at::Tensor embed(const Pass& pass, const at::Tensor& latents) const;
  /// hidden: [batch, tokens of the pass, dim], updated by the layers that this rank holds
  /// (Transformer::forward_layers).
  void layers(const Pass& pass, at::Tensor& hidden, SelfAttention& attention, int64_t micro_batch = 0) const;
  /// [batch, tokens of whole frames, dim] -> [batch, channels, frames, h, w]
  at::Tensor head(const Pass& pass, const at::Tensor& hidden) const;
  /// The head token by token: [batch, tokens of the pass, dim] -> [batch, tokens, channels of a patch]
  at::Tensor project(const Pass& pass, const at::Tensor& hidden) const;
  /// [1, all tokens of the window, channels of a patch] -> [1, channels, frames, h, w]
  at::Tensor unpatchify(const Pass& pass, const at::Tensor& patches) const;
  /// Both halves, conditional first, [2, ...] -> [1, ...] fp32; without guidance as it is, in fp32. The scale is that
  /// of the pass's expert.
  at::Tensor guide(const Pass& pass, const at::Tensor& halves) const;

 private:
  std::shared_ptr<const FrameSight> sight(int64_t step) const;
  at::Tensor with_image(const Pass& pass, const at::Tensor& latents) const;
  TimeConditioning told(const Pass& pass) const;
  int64_t expert_of(int64_t step) const { return step >= second_from_ ? 1 : 0; }

  const Request& request_;
  Experts experts_;
  Schedule schedule_;
  int64_t second_from_;  // the second expert's first step
  int64_t batch_ = 1, micro_batches_ = 1;
  std::vector<std::vector<std::vector<TextContext>>> text_;  // by expert, prompt and micro-batch; none if not needed
};

}  // namespace dualparal
