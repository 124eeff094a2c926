// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/denoiser.h"

#include <algorithm>
#include <numeric>

#include "strategy/denoise/latents_sink.h"
#include "strategy/denoise/noise.h"
#include "strategy/denoise/number_watch.h"

namespace dualparal {
namespace {

// One half of a batch of two, as views.
TextContext half_of(const TextContext& text, int64_t half) {
  const auto of = [&](const at::Tensor& x) { return x.defined() ? x.slice(0, half, half + 1) : x; };
  TextContext out;
  for (const auto& layer : text.layers)
    out.layers.push_back({of(layer.key), of(layer.value), of(layer.image_key), of(layer.image_value)});
  return out;
}

// The prompt embeddings of the halves that are computed here.
at::Tensor prompts_of(const Request& request, GuidanceHalves halves) {
  if (halves == GuidanceHalves::kConditional) return request.prompt_embeds;
  if (halves == GuidanceHalves::kUnconditional) return request.negative_prompt_embeds;
  return guidance_batch(request);
}

// The same with another prompt, for every prompt; those are empty of which no frame is needed.
std::vector<std::optional<Request>> by_prompt(const Request& request, const std::optional<Range>& frames) {
  const auto& later = request.later_prompts;
  std::vector<std::optional<Request>> all;
  for (size_t prompt = 0; prompt <= later.size(); ++prompt) {
    const Range shown{prompt > 0 ? later[prompt - 1].first_frame : 0,
                      prompt < later.size() ? later[prompt].first_frame : request.latent_frames};
    auto& one = all.emplace_back();
    if (frames && intersection(*frames, shown).size() == 0) continue;
    one = request;
    if (prompt > 0) one->prompt_embeds = later[prompt - 1].embeds;
  }
  return all;
}

// A prediction that is not finite would make a video all the same.
class WatchedSampler final : public Sampler {
 public:
  explicit WatchedSampler(std::unique_ptr<Sampler> inner) : inner_(std::move(inner)) {}
  at::Tensor step(const at::Tensor& prediction, const at::Tensor& latents) override {
    NumberWatch::show(prediction);
    return inner_->step(prediction, latents);
  }
  SamplerState state() const override { return inner_->state(); }
  void set_state(const SamplerState& state) override { inner_->set_state(state); }

 private:
  std::unique_ptr<Sampler> inner_;
};

}  // namespace

int64_t second_expert_from(const Request& request, const Schedule& schedule) {
  int64_t step = 0;
  while (step < schedule.steps() && schedule.timesteps[step] >= request.boundary_timestep) ++step;
  return step;
}

int64_t NoiseLevel::expert() const {
  check(!mixed(), "a window with frames of both experts has no one expert");
  return expert_;
}

Denoiser::Denoiser(const Request& request, const Experts& experts, GuidanceHalves halves, std::optional<Range> frames)
    : request_(request),
      experts_(experts),
      schedule_(make_schedule(request.sampler, request.scheduler, request.num_inference_steps)),
      second_from_(second_expert_from(request, schedule_)) {
  check(experts.count() == request.experts(), "{} transformer(s) for a request of {} expert(s)", experts.count(),
        request.experts());
  micro_batches_ = dualparal::micro_batches(halves, request.guided());
  const auto prompts = by_prompt(request, frames);
  for (int64_t expert = 0; expert < experts.count(); ++expert) {
    auto& of_expert = text_.emplace_back();
    for (const auto& one : prompts) {
      auto& of_prompt = of_expert.emplace_back();
      if (!one) continue;
      const TextContext text = experts[expert].text_context(prompts_of(*one, halves), request.image_embeds);
      of_prompt = micro_batches_ == 2 ? std::vector{half_of(text, 0), half_of(text, 1)} : std::vector{text};
    }
  }
  batch_ = request.guided() && halves == GuidanceHalves::kBatched ? 2 : 1;
}

std::unique_ptr<Sampler> Denoiser::make_sampler() const {
  return std::make_unique<WatchedSampler>(dualparal::make_sampler(request_.sampler, request_.scheduler, schedule_));
}

at::Tensor Denoiser::noise(const Range& frames) const {
  return frame_noise(request_, frames.begin, frames.end).to(device());
}

TokenGrid Denoiser::grid(int64_t frames) const {
  return transformer().grid(
      {1, transformer().config().in_channels, frames, request_.latent_height, request_.latent_width});
}

int64_t Denoiser::prompt_at(int64_t frame) const {
  return std::ranges::count_if(request_.later_prompts,
                               [&](const LaterPrompt& later) { return later.first_frame <= frame; });
}

Pass Denoiser::pass(const Range& frames, int64_t first_position, std::optional<Range> tokens) const {
  const TokenGrid window = grid(frames.size());
  RotaryTable rotary = transformer().rotary().table(window, first_position, device(), request_.riflex);
  if (tokens) rotary = rotary.cut(tokens->begin, tokens->end);
  return {frames, window, tokens, rotary, {}, 0};
}

NoiseLevel Denoiser::time(int64_t step) const {
  const int64_t expert = expert_of(step);
  TimeConditioning time = experts_[expert].time_conditioning(at::scalar_tensor(schedule_.timesteps.at(step)).view({1}));
  time.sight = sight(step);
  NoiseLevel level{expert, time};
  if (request_.first_frame.defined()) level.with_first_frame(experts_[expert].time_conditioning(at::zeros({1})));
  return level;
}

// Null if all is seen: a short video goes the way of dense attention.
std::shared_ptr<const FrameSight> Denoiser::sight(int64_t step) const {
  if (!request_.sparse_attention) return nullptr;
  const TokenGrid video = grid(request_.latent_frames);
  auto seen =
      std::make_shared<FrameSight>(lvsa_frames(video.frames, *request_.sparse_attention, step), video.frame_tokens());
  return seen->pairs() < video.frames * video.frames ? seen : nullptr;
}

NoiseLevel Denoiser::time(const std::vector<int64_t>& steps) const {
  std::vector<double> timesteps;
  std::vector<int64_t> second;
  for (const int64_t step : steps) {
    timesteps.push_back(schedule_.timesteps.at(step));
    second.push_back(expert_of(step));
  }
  const at::Tensor levels = at::tensor(timesteps, at::kFloat);
  const auto [least, most] = std::ranges::minmax(second);
  if (least == most) return {least, experts_[least].time_conditioning(levels)};
  return {experts_[0].time_conditioning(levels), experts_[1].time_conditioning(levels),
          at::tensor(second, at::kFloat).view({1, 1, -1, 1, 1}).to(device())};
}

at::Tensor Denoiser::predict(const Pass& pass, const at::Tensor& latents, SelfAttention& attention) const {
  if (pass.time.mixed()) {  // every expert sees all frames; of each frame, its own expert's prediction counts
    std::vector<at::Tensor> predictions;
    for (const int64_t expert : {0, 1}) {
      Pass one = pass;
      one.time = pass.time.of(expert);
      predictions.push_back(predict(one, latents, attention));
    }
    return predictions[0].lerp(predictions[1],
                               pass.time.second().to(predictions[0].scalar_type()));  // all one, or all the other
  }
  std::vector<at::Tensor> halves;
  for (int64_t m = 0; m < micro_batches(); ++m) {
    at::Tensor hidden = embed(pass, latents);
    layers(pass, hidden, attention, m);
    halves.push_back(head(pass, hidden));
  }
  return guide(pass, halves.size() == 1 ? halves[0] : at::cat(halves));
}

// The image as the first frame, or beside the latents of every frame what the model is told of it.
at::Tensor Denoiser::with_image(const Pass& pass, const at::Tensor& latents) const {
  if (request_.first_frame.defined() && pass.frames.begin == 0) return with_first_frame(latents, request_.first_frame);
  if (!request_.condition.defined()) return latents;
  check(pass.frames.begin >= 0 && pass.frames.end <= request_.condition.size(2),
        "frames {}..{} have no condition: there are {}", pass.frames.begin, pass.frames.end - 1,
        request_.condition.size(2));
  const at::Tensor own = request_.condition.slice(2, pass.frames.begin, pass.frames.end);
  return at::cat({latents, own.to(latents.device(), latents.scalar_type())}, 1);
}

// The timestep of the pass's tokens: where the first of them are an image's, two, in groups that fit both parts.
TimeConditioning Denoiser::told(const Pass& pass) const {
  const auto& image = pass.time.first_frame();
  if (!image || pass.frames.begin > 0) return pass.time.time();
  const Range tokens = pass.tokens.value_or(Range{0, pass.grid.tokens()});
  const int64_t of_image = intersection(tokens, {0, pass.grid.frame_tokens()}).size();
  if (of_image == 0) return pass.time.time();
  const int64_t group = std::gcd(of_image, tokens.size()), others = (tokens.size() - of_image) / group;
  const auto join = [&](const at::Tensor& first, const at::Tensor& rest) {
    return at::cat({first.repeat_interleave(of_image / group, 0), rest.repeat_interleave(others, 0)});
  };
  const TimeConditioning& time = pass.time.time();
  return {join(image->embedding, time.embedding), join(image->modulation, time.modulation), time.sight};
}

at::Tensor Denoiser::embed(const Pass& pass, const at::Tensor& latents) const {
  const Transformer& expert = experts_[pass.time.expert()];
  const at::Tensor input = with_image(pass, latents);
  if (!pass.tokens) {
    auto shape = input.sizes().vec();
    shape[0] = batch_;
    return expert.embed(input.expand(shape));
  }
  // The frames that hold the tokens, once for all halves.
  const int64_t per_frame = pass.grid.frame_tokens(), patch = expert.config().patch_size[0];
  const int64_t first = pass.tokens->begin / per_frame, last = (pass.tokens->end + per_frame - 1) / per_frame;
  const at::Tensor frames = expert.embed(input.slice(2, first * patch, last * patch));
  const at::Tensor own = frames.slice(1, pass.tokens->begin - first * per_frame, pass.tokens->end - first * per_frame);
  return batch_ > 1 ? own.repeat({batch_, 1, 1}) : own.contiguous();
}

void Denoiser::layers(const Pass& pass, at::Tensor& hidden, SelfAttention& attention, int64_t micro_batch) const {
  const int64_t expert = pass.time.expert();
  const auto& text = text_[expert].at(pass.prompt);
  check(!text.empty(), "prompt {} is not held: this rank was to need those of other frames", pass.prompt);
  experts_[expert].forward_layers(transformer().parts().layers, hidden, told(pass), text[micro_batch], pass.rotary,
                                  attention);
}

at::Tensor Denoiser::head(const Pass& pass, const at::Tensor& hidden) const {
  return experts_[pass.time.expert()].head(hidden, told(pass), pass.grid);
}

at::Tensor Denoiser::project(const Pass& pass, const at::Tensor& hidden) const {
  return experts_[pass.time.expert()].project(hidden, told(pass));
}

at::Tensor Denoiser::unpatchify(const Pass& pass, const at::Tensor& patches) const {
  return transformer().unpatchify(patches, pass.grid);
}

at::Tensor Denoiser::guide(const Pass& pass, const at::Tensor& halves) const {
  return apply_guidance(request_, halves, pass.time.expert() == 1);
}

}  // namespace dualparal
