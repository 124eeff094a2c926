// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/denoiser.h"

#include "strategy/denoise/noise.h"
#include "strategy/denoise/number_watch.h"

namespace dualparal {
namespace {

// One half of a batch of two, as views.
TextContext half_of(const TextContext& text, int64_t half) {
  const auto of = [&](const at::Tensor& x) { return x.defined() ? x.slice(0, half, half + 1) : x; };
  TextContext out;
  for (const auto& layer : text.layers) out.layers.push_back({of(layer.key), of(layer.value)});
  return out;
}

// The prompt embeddings of the halves that are computed here.
at::Tensor prompts_of(const Request& request, GuidanceHalves halves) {
  if (halves == GuidanceHalves::kConditional) return request.prompt_embeds;
  if (halves == GuidanceHalves::kUnconditional) return request.negative_prompt_embeds;
  return guidance_batch(request);
}

// A prediction that is not finite would make a video all the same.
class WatchedSampler final : public Sampler {
 public:
  explicit WatchedSampler(std::unique_ptr<Sampler> inner) : inner_(std::move(inner)) {}
  at::Tensor step(const at::Tensor& prediction, const at::Tensor& latents) override {
    NumberWatch::show(prediction);
    return inner_->step(prediction, latents);
  }

 private:
  std::unique_ptr<Sampler> inner_;
};

}  // namespace

Denoiser::Denoiser(const Request& request, const Transformer& transformer, GuidanceHalves halves)
    : request_(request),
      transformer_(transformer),
      schedule_(make_schedule(request.sampler, request.scheduler, request.num_inference_steps)) {
  const TextContext text = transformer.text_context(prompts_of(request, halves));
  if (dualparal::micro_batches(halves, request.guided()) == 2)
    text_ = {half_of(text, 0), half_of(text, 1)};
  else
    text_ = {text};
  batch_ = request.guided() && halves == GuidanceHalves::kBatched ? 2 : 1;
}

std::unique_ptr<Sampler> Denoiser::make_sampler() const {
  return std::make_unique<WatchedSampler>(dualparal::make_sampler(request_.sampler, request_.scheduler, schedule_));
}

at::Tensor Denoiser::noise(const Range& frames) const {
  return frame_noise(request_, frames.begin, frames.end).to(device());
}

TokenGrid Denoiser::grid(int64_t frames) const {
  return transformer_.grid({1, request_.channels, frames, request_.latent_height, request_.latent_width});
}

Pass Denoiser::pass(int64_t frames, int64_t first_position, std::optional<Range> tokens) const {
  const TokenGrid window = grid(frames);
  RotaryTable rotary = transformer_.rotary().table(window, first_position, device(), request_.riflex);
  if (tokens) rotary = rotary.cut(tokens->begin, tokens->end);
  return {window, tokens, rotary, {}};
}

TimeConditioning Denoiser::time(int64_t step) const {
  TimeConditioning time = transformer_.time_conditioning(at::scalar_tensor(schedule_.timesteps.at(step)).view({1}));
  time.sight = sight(step);
  return time;
}

// Null if all is seen: a short video goes the way of dense attention.
std::shared_ptr<const FrameSight> Denoiser::sight(int64_t step) const {
  if (!request_.sparse_attention) return nullptr;
  const TokenGrid video = grid(request_.latent_frames);
  auto seen =
      std::make_shared<FrameSight>(lvsa_frames(video.frames, *request_.sparse_attention, step), video.frame_tokens());
  return seen->pairs() < video.frames * video.frames ? seen : nullptr;
}

TimeConditioning Denoiser::time(const std::vector<int64_t>& steps) const {
  std::vector<double> timesteps;
  for (const int64_t step : steps) timesteps.push_back(schedule_.timesteps.at(step));
  return transformer_.time_conditioning(at::tensor(timesteps, at::kFloat));
}

at::Tensor Denoiser::predict(const Pass& pass, const at::Tensor& latents, SelfAttention& attention) const {
  std::vector<at::Tensor> halves;
  for (int64_t m = 0; m < micro_batches(); ++m) {
    at::Tensor hidden = embed(pass, latents);
    layers(pass, hidden, attention, m);
    halves.push_back(head(pass, hidden));
  }
  return guide(halves.size() == 1 ? halves[0] : at::cat(halves));
}

at::Tensor Denoiser::embed(const Pass& pass, const at::Tensor& latents) const {
  if (!pass.tokens) {
    auto shape = latents.sizes().vec();
    shape[0] = batch_;
    return transformer_.embed(latents.expand(shape));
  }
  // The frames that hold the tokens, once for all halves.
  const int64_t per_frame = pass.grid.frame_tokens(), patch = transformer_.config().patch_size[0];
  const int64_t first = pass.tokens->begin / per_frame, last = (pass.tokens->end + per_frame - 1) / per_frame;
  const at::Tensor frames = transformer_.embed(latents.slice(2, first * patch, last * patch));
  const at::Tensor own = frames.slice(1, pass.tokens->begin - first * per_frame, pass.tokens->end - first * per_frame);
  return batch_ > 1 ? own.repeat({batch_, 1, 1}) : own.contiguous();
}

void Denoiser::layers(const Pass& pass, at::Tensor& hidden, SelfAttention& attention, int64_t micro_batch) const {
  transformer_.forward_layers(transformer_.parts().layers, hidden, pass.time, text_[micro_batch], pass.rotary,
                              attention);
}

at::Tensor Denoiser::head(const Pass& pass, const at::Tensor& hidden) const {
  return transformer_.head(hidden, pass.time, pass.grid);
}

at::Tensor Denoiser::project(const Pass& pass, const at::Tensor& hidden) const {
  return transformer_.project(hidden, pass.time);
}

at::Tensor Denoiser::unpatchify(const Pass& pass, const at::Tensor& patches) const {
  return transformer_.unpatchify(patches, pass.grid);
}

at::Tensor Denoiser::guide(const at::Tensor& halves) const { return apply_guidance(request_, halves); }

}  // namespace dualparal
