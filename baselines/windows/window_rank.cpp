// SPDX-License-Identifier: Apache-2.0
#include "baselines/windows/window_rank.h"

#include <algorithm>

#include "base/measure/nvtx.h"
#include "strategy/denoise/noise.h"
#include "strategy/snapshot/step_snapshots.h"

namespace dualparal {

at::Tensor window_noise(const Request& request, const WindowOptions& options, const Range& frames) {
  if (!options.free_noise || request.initial_noise.defined()) return frame_noise(request, frames.begin, frames.end);
  const auto source =
      free_noise_frames(request.latent_frames, options.window_frames, options.overlap_frames, request.seed);
  std::vector<at::Tensor> parts;
  for (int64_t frame = frames.begin; frame < frames.end; ++frame)
    parts.push_back(frame_noise(request, source[frame], source[frame] + 1));
  return at::cat(parts, 2);
}

WindowRank::WindowRank(const DenoiseContext& context, const WindowOptions& options)
    : context_(context),
      options_(options),
      exchange_(context.comm, context.recorder),
      windows_(options.windows(context.request.latent_frames)),
      dealt_(deal_windows(windows_, exchange_.world_size(), options.seen_before())),
      own_(dealt_[exchange_.rank()]),
      denoiser_(context.request, context.transformer, options.halves, own_.predicted) {
  for (const auto& weights : window_weights(windows_, options.weights, options.overlap_frames))
    weights_.push_back(at::tensor(weights, at::kFloat).to(denoiser_.device()).view({1, 1, -1, 1, 1}));
}

void WindowRank::run() {
  if (own_.windows.size() == 0) return;
  const auto sampler = denoiser_.make_sampler();
  latents_ = window_noise(context_.request, options_, own_.held).to(denoiser_.device());
  const auto keepers = std::ranges::count_if(dealt_, [](const RankWindows& rank) { return rank.windows.size() > 0; });
  StepSnapshots snapshots(context_.snapshots, {own_.held, exchange_.rank(), keepers}, denoiser_.steps());
  snapshots.restore(latents_, *sampler);
  for (int64_t step = snapshots.first(); step < denoiser_.steps(); ++step) {
    const NvtxRange range("step {}", step);
    const at::Tensor prediction = predict(step);
    const auto span = context_.recorder.compute(label(step));
    latents_ = sampler->step(prediction, latents_);
    context_.progress(step + 1, denoiser_.steps());
    snapshots.after(step + 1, latents_, *sampler);
  }
  collect();
}

// Of all frames held: no layers.
WorkLabel WindowRank::label(int64_t step) const {
  return {.block = own_.windows.begin, .step = step, .frames = {own_.held.begin, own_.held.end - 1}};
}

// Frames of a tensor that begins with the first frame held.
at::Tensor WindowRank::frames_of(const at::Tensor& x, const Range& frames) const {
  return x.slice(2, frames.begin - own_.held.begin, frames.end - own_.held.begin);
}

// The average of all windows, those of other ranks too, for the frames held.
at::Tensor WindowRank::predict(int64_t step) {
  exchange_.begin(label(step));
  std::vector<Arriving> arriving = receive();
  at::Tensor sum = at::zeros_like(latents_);
  const NoiseLevel time = denoiser_.time(step);
  for (int64_t w = own_.windows.begin; w < own_.windows.end; ++w) predict_window(w, step, time, sum);
  send(sum);
  for (Arriving& one : arriving) frames_of(sum, one.frames).add_(one.message.take());
  exchange_.finish_sends();
  return sum;
}

void WindowRank::predict_window(int64_t window, int64_t step, const NoiseLevel& time, at::Tensor& sum) {
  const Range frames = windows_[window];
  WorkLabel work{.block = window, .step = step, .frames = {frames.begin, frames.end - 1}};
  work.last_layer = context_.transformer.config().num_layers - 1;
  const auto span = context_.recorder.compute(work);
  const int64_t before = frames.begin > 0 ? options_.seen_before() : 0;
  Pass pass = pass_of(before + frames.size());
  pass.frames = {frames.begin - before, frames.end};
  pass.time = time;
  pass.prompt = denoiser_.prompt_at(frames.begin);
  const at::Tensor prediction =
      denoiser_.predict(pass, frames_of(latents_, {frames.begin - before, frames.end}), attention_);
  frames_of(sum, frames).add_(prediction.slice(2, before) * weights_[window]);
}

const Pass& WindowRank::pass_of(int64_t frames) {
  auto found = passes_.find(frames);
  if (found == passes_.end()) found = passes_.emplace(frames, denoiser_.pass({0, frames})).first;
  return found->second;
}

std::vector<WindowRank::Arriving> WindowRank::receive() {
  std::vector<Arriving> arriving;
  auto shape = latents_.sizes().vec();
  for (int64_t from = 0; from < exchange_.world_size(); ++from) {
    const Range frames = intersection(dealt_[from].predicted, own_.held);
    if (from == exchange_.rank() || frames.size() == 0) continue;
    shape[2] = frames.size();
    arriving.push_back({frames, exchange_.receive(shape, latents_.options(), from)});
  }
  return arriving;
}

// Copies, as what arrives is added to `sum` while they are on their way.
void WindowRank::send(const at::Tensor& sum) {
  for (int64_t to = 0; to < exchange_.world_size(); ++to) {
    const Range frames = intersection(own_.predicted, dealt_[to].held);
    if (to != exchange_.rank() && frames.size() > 0) exchange_.send(frames_of(sum, frames).clone(), to);
  }
}

// Rank 0: the final latents of all ranks, in order.
void WindowRank::collect() {
  exchange_.begin(label(denoiser_.steps() - 1));
  if (exchange_.rank() > 0) {
    exchange_.send(frames_of(latents_, finished_by(dealt_, exchange_.rank())), 0);
    return exchange_.finish_sends();
  }
  context_.sink.push(latents_);
  auto shape = latents_.sizes().vec();
  for (int64_t from = 1; from < exchange_.world_size(); ++from) {
    shape[2] = finished_by(dealt_, from).size();
    if (shape[2] > 0) context_.sink.push(exchange_.receive(shape, latents_.options(), from).take());
  }
}

}  // namespace dualparal
