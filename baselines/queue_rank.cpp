// SPDX-License-Identifier: Apache-2.0
#include "baselines/queue_rank.h"

#include <algorithm>
#include <map>

#include "base/measure/nvtx.h"
#include "strategy/denoise/denoise_alone.h"
#include "strategy/denoise/noise.h"
#include "strategy/denoise/number_watch.h"

namespace dualparal {
namespace {

constexpr uint64_t kQueueSeed = 0x51ed;  // the queue's first noise is not the video's

}  // namespace

QueueRank::QueueRank(const DenoiseContext& context, int64_t window_frames, bool lookahead, GuidanceHalves halves)
    : context_(context),
      denoiser_(context.request, context.transformer, halves),
      queue_(denoiser_.steps(), window_frames, lookahead),
      all_(queue_.windows()),
      active_(queue_.active_ranks(context.comm.world_size())),
      exchange_(context.comm, context.recorder) {}

void QueueRank::run() {
  const int64_t rank = exchange_.rank(), iterations = queue_.iterations(context_.request.latent_frames);
  const int64_t total = denoiser_.steps() + iterations, first = first_iteration();
  const at::Tensor opening = first > 0 ? at::Tensor() : opening_frames(total);
  if (rank >= active_) return;  // more ranks than windows
  enter_queue(opening);
  SnapshotAgenda agenda(context_.snapshots, denoiser_.steps() + first, total);
  for (int64_t iteration = first; iteration < iterations; ++iteration) {
    const NvtxRange range("iteration {}", iteration);
    std::vector<at::Tensor> next;  // of the updated slots
    for (size_t w = 0; w < passes_.size(); ++w) {
      const auto span = context_.recorder.compute(label(w, iteration, context_.transformer.config().num_layers - 1));
      next.push_back(step(passes_[w], iteration));
    }
    exchange_.begin(label(0, iteration, -1));
    const at::Tensor latents = at::cat(next, 2);
    if (rank == 0 && queue_.frame_in(0, iteration) >= 0) context_.sink.push(latents.slice(2, 0, 1));
    slots_.latents = shift(latents, queue_.frame_in(queue_.steps, iteration));
    context_.progress(iteration + 1, iterations);
    keep(agenda, iteration);
  }
}

// Snapshots count the opening frames' steps, then the queue's iterations.
int64_t QueueRank::first_iteration() const {
  const SavedRun* kept = context_.snapshots.resumed();
  return kept ? std::max<int64_t>(0, kept->done - denoiser_.steps()) : 0;
}

// opening: undefined where the queue was kept.
void QueueRank::enter_queue(const at::Tensor& opening) {
  held_ = even_ranges(static_cast<int64_t>(all_.size()), active_)[exchange_.rank()];
  const std::vector<QueueWindow> own(all_.begin() + held_.begin, all_.begin() + held_.end);
  const Range slots{own.front().updated.begin - queue_.seen, own.back().updated.end};
  if (opening.defined())
    slots_ = first_slots(opening, slots);
  else
    slots_ = {slots, context_.snapshots.resumed()
                         ->frames(slots, exchange_.rank())
                         .tensor("latents")
                         .to(denoiser_.device(), at::kFloat, /*non_blocking=*/false, /*copy=*/true)};
  make_passes(own);
}

// The queue after an iteration: the slots of every rank.
void QueueRank::keep(SnapshotAgenda& agenda, int64_t iteration) {
  const int64_t done = denoiser_.steps() + iteration + 1;
  agenda.ask_until(done);
  if (agenda.after(done) == SnapshotDecision::kNone) return;
  context_.snapshots.save(done, active_, latents_state(slots_.range.begin, slots_.latents, nullptr));
  if (agenda.after(done) == SnapshotDecision::kKeepAndStop) throw RunStopped(done);
}

// A window's work in an iteration; its frames and their steps, for messages.
WorkLabel QueueRank::label(size_t window, int64_t iteration, int64_t last_layer) const {
  const Range& updated = passes_[window].window.updated;
  const int64_t last = context_.request.latent_frames - 1;
  const auto frame = [&](int64_t slot) { return std::clamp<int64_t>(queue_.frame_in(slot, iteration), 0, last); };
  return {.block = held_.begin + static_cast<int64_t>(window),
          .step = iteration,
          .last_layer = last_layer,
          .frames = {frame(updated.begin), frame(updated.end - 1)},
          .steps = {queue_.step_of(updated.end - 1), queue_.step_of(updated.begin)}};
}

// The first frames, a window's worth, denoised at one noise level as usual. Every rank makes them for itself.
at::Tensor QueueRank::opening_frames(int64_t total) const {
  const NvtxRange range("opening frames");
  Request longer = context_.request;  // a video shorter than the window still fills the queue
  if (longer.initial_noise.defined() && longer.initial_noise.size(2) < queue_.window)
    longer.initial_noise = at::Tensor();
  StepSnapshots snapshots(context_.snapshots, {{0, queue_.window}, exchange_.rank()}, total);
  return denoise_alone(
      denoiser_, frame_noise(longer, 0, queue_.window).to(denoiser_.device()), denoiser_.pass({0, queue_.window}),
      context_.recorder, {.block = -1, .frames = {0, queue_.window - 1}}, [](int64_t) {}, &snapshots);
}

// Each slot's opening frame with noise of the slot's level: the first one until the window's worth of frames is left.
QueueRank::Slots QueueRank::first_slots(const at::Tensor& opening, const Range& range) const {
  Request fresh = context_.request;
  fresh.initial_noise = at::Tensor();
  fresh.seed += kQueueSeed;
  const int64_t before = opening.size(2);  // noise of negative slots comes first
  std::vector<at::Tensor> frames;
  for (int64_t slot = range.begin; slot < range.end; ++slot) {
    const double sigma = denoiser_.schedule().sigmas[queue_.step_of(slot)];
    const at::Tensor noise = frame_noise(fresh, slot + before, slot + before + 1).to(opening.device());
    const int64_t frame = std::max<int64_t>(0, queue_.frame_in(slot, 0));
    frames.push_back(at::lerp(opening.slice(2, frame, frame + 1), noise, sigma));
  }
  return {range, at::cat(frames, 2)};
}

void QueueRank::make_passes(const std::vector<QueueWindow>& windows) {
  const auto& sigmas = denoiser_.schedule().sigmas;
  std::map<int64_t, Pass> by_frames;
  for (const QueueWindow& window : windows) {
    const int64_t frames = window.input.size();
    if (!by_frames.contains(frames)) by_frames.emplace(frames, denoiser_.pass({0, frames}));
    Pass pass = by_frames.at(frames);
    std::vector<int64_t> steps;
    for (int64_t slot = window.input.begin; slot < window.input.end; ++slot) steps.push_back(queue_.step_of(slot));
    std::vector<float> change;
    for (int64_t slot = window.updated.begin; slot < window.updated.end; ++slot)
      change.push_back(static_cast<float>(sigmas[queue_.step_of(slot) + 1] - sigmas[queue_.step_of(slot)]));
    pass.time = denoiser_.time(steps);
    passes_.push_back({window, pass, at::tensor(change, at::kFloat).to(denoiser_.device()).view({1, 1, -1, 1, 1})});
  }
}

// The updated slots of a window after their step, which is of first order, as the authors' is.
at::Tensor QueueRank::step(WindowPass& one, int64_t iteration) {
  const QueueWindow& window = one.window;
  one.pass.prompt = denoiser_.prompt_at(queue_.frame_in(window.updated.begin, iteration));
  const at::Tensor prediction = denoiser_.predict(one.pass, slots_.of(window.input), attention_)
                                    .slice(2, window.updated.begin - window.input.begin);
  NumberWatch::show(prediction);
  return slots_.of(window.updated) + one.change * prediction;
}

// The queue after every frame has moved down a slot: [frames seen | own slots], from own and neighbours' frames.
// entering: the video's frame that enters at the tail.
at::Tensor QueueRank::shift(const at::Tensor& latents, int64_t entering) {
  const int64_t rank = exchange_.rank(), seen = queue_.seen;
  const bool head = rank == 0, tail = rank == active_ - 1;
  auto shape = latents.sizes().vec();
  Exchange::Incoming from_below, from_above;
  shape[2] = seen - 1;
  if (!head && seen > 1) from_below = exchange_.receive(shape, latents.options(), rank - 1);
  shape[2] = 1;
  if (!tail) from_above = exchange_.receive(shape, latents.options(), rank + 1);
  if (!tail && seen > 1) exchange_.send(latents.slice(2, latents.size(2) - (seen - 1)), rank + 1);
  if (!head) exchange_.send(latents.slice(2, 0, 1), rank - 1);

  std::vector<at::Tensor> frames;
  if (seen > 1) frames.push_back(head ? slots_.latents.slice(2, 1, seen) : from_below.take());
  frames.push_back(seen > 0 ? latents : latents.slice(2, 1));  // its first frame is now one that is only seen
  frames.push_back(tail ? entering_noise(entering) : from_above.take());
  exchange_.finish_sends();
  return at::cat(frames, 2);
}

at::Tensor QueueRank::entering_noise(int64_t frame) const {
  Request any = context_.request;
  if (any.initial_noise.defined() && frame >= any.initial_noise.size(2)) any.initial_noise = at::Tensor();
  return frame_noise(any, frame, frame + 1).to(denoiser_.device());
}

}  // namespace dualparal
