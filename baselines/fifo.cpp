// SPDX-License-Identifier: Apache-2.0
#include "baselines/fifo.h"

#include <algorithm>
#include <map>

#include "base/errors.h"
#include "base/nvtx.h"
#include "strategy/denoise/guidance.h"
#include "strategy/denoise/local_attention.h"
#include "strategy/denoise/noise.h"
#include "strategy/parallel/exchange.h"

namespace dualparal {

std::vector<QueueWindow> queue_windows(int64_t steps, int64_t window_frames, bool lookahead) {
  const int64_t seen = lookahead ? window_frames / 2 : 0, stride = window_frames - seen;
  std::vector<QueueWindow> windows;
  for (int64_t begin = 0; begin < steps; begin += stride) {
    const int64_t end = std::min(steps, begin + stride);
    windows.push_back({{begin - seen, end}, {begin, end}});
  }
  return windows;
}

namespace {

// Frames [slots.begin, slots.end) of the queue, with their latents.
struct Slots {
  Share range;
  at::Tensor latents;  // [1, channels, slots, h, w] fp32

  at::Tensor of(const Share& slots) const {
    return latents.slice(2, slots.begin - range.begin, slots.end - range.begin);
  }
};

class Fifo final : public Strategy {
 public:
  explicit Fifo(const OptionValues& options)
      : window_frames_(std::stol(options.at("window-frames"))), lookahead_(options.at("lookahead") == "on") {
    check_usage(!lookahead_ || window_frames_ % 2 == 0, "--window-frames {}: lookahead needs an even number",
                window_frames_);
  }

  TransformerParts parts(const TransformerConfig& config, const RankInfo&) const override {
    check_usage(config.patch_size[0] == 1, "fifo needs a model whose patches are one latent frame long, not {}",
                config.patch_size[0]);
    return {{0, config.num_layers}, true, true};
  }

  AnalyticCost analytic_cost(const Request& request, const Workload& work, int64_t world_size) const override {
    const int64_t window = window_of(work.steps), seen = lookahead_ ? window / 2 : 0;
    const auto windows = static_cast<int64_t>(queue_windows(work.steps, window, lookahead_).size());
    const auto neighbours = static_cast<double>(std::min(world_size, windows) - 1);
    const auto frame = static_cast<double>(work.frame_tokens * work.token_bytes);
    // One frame moves down to the rank before; with lookahead, the frames that are seen move up.
    const double messages = static_cast<double>(1 + std::max<int64_t>(0, seen - 1)) * frame;
    return {static_cast<double>(iterations(request.latent_frames, work.steps, window)) * neighbours * messages,
            work.weights_bytes(work.layers),
            2 * work.hidden_bytes(static_cast<double>(window * work.frame_tokens))};
  }

  std::vector<Link> links(const Request& request, int64_t world_size) const override {
    const int64_t steps = request.num_inference_steps;
    return neighbour_links(active_ranks(queue_windows(steps, window_of(steps), lookahead_), world_size));
  }

  void denoise(const Request& request, const DenoiseContext& context, LatentsSink& sink) override {
    const Transformer& model = context.transformer;
    const Schedule schedule = make_schedule(request.sampler, request.scheduler, request.num_inference_steps);
    const int64_t steps = schedule.steps(), window = window_of(steps), seen = lookahead_ ? window / 2 : 0;
    const auto windows = queue_windows(steps, window, lookahead_);
    const int64_t active = active_ranks(windows, context.comm.world_size());
    const int64_t rank = context.comm.rank();
    const int64_t all = iterations(request.latent_frames, steps, window);
    const TextContext text = model.text_context(guidance_batch(request));
    LocalAttention attention;
    const at::Tensor opening = opening_frames(request, context, schedule, text, window);
    if (rank >= active) return;  // more ranks than windows

    const Share held = even_shares(static_cast<int64_t>(windows.size()), active)[rank];
    const std::vector<QueueWindow> own(windows.begin() + held.begin, windows.begin() + held.end);
    const Share updated{own.front().updated.begin, own.back().updated.end};
    Slots queue = first_queue(request, schedule, opening, {updated.begin - seen, updated.end});
    const std::vector<WindowPlan> plans = make_plans(request, model, schedule, own);

    Exchange exchange(context.comm, context.recorder);
    for (int64_t iteration = 0; iteration < all; ++iteration) {
      const NvtxRange range("iteration {}", iteration);
      std::vector<at::Tensor> next;  // of the updated slots
      for (size_t w = 0; w < plans.size(); ++w) {
        const WorkLabel label{held.begin + static_cast<int64_t>(w), iteration, 0, model.config().num_layers - 1, 0};
        const auto span = context.recorder.compute(label);
        next.push_back(step(request, model, text, attention, queue, plans[w]));
      }
      exchange.begin({held.begin, iteration, 0, -1, 0});
      const at::Tensor latents = at::cat(next, 2);
      const int64_t leaving = frame_in(0, iteration, steps, window);
      if (rank == 0 && leaving >= 0) sink.push(latents.slice(2, 0, 1));
      queue.latents = shift(request, exchange, queue, latents, seen, active,
                            frame_in(steps, iteration, steps, window));
      context.progress(iteration + 1, all);
    }
  }

 private:
  int64_t window_of(int64_t steps) const {
    const int64_t window = std::min(window_frames_, steps);
    return lookahead_ ? std::max<int64_t>(2, window - window % 2) : window;
  }

  // Ranks with a window; the others have nothing to do.
  static int64_t active_ranks(const std::vector<QueueWindow>& windows, int64_t world_size) {
    return std::min(world_size, static_cast<int64_t>(windows.size()));
  }

  static int64_t iterations(int64_t frames, int64_t steps, int64_t window) {
    return frames + std::max<int64_t>(0, steps - window);
  }

  // The video's frame that is in a slot; negative: a copy of the first one, with which the queue was filled.
  static int64_t frame_in(int64_t slot, int64_t iteration, int64_t steps, int64_t window) {
    return iteration + slot - std::max<int64_t>(0, steps - window);
  }

  // The timestep of a slot's next step; of a frame that has left the queue, the last one.
  static int64_t step_of(int64_t slot, int64_t steps) { return steps - 1 - std::max<int64_t>(0, slot); }

  // What is the same for a window in every iteration.
  struct WindowPlan {
    QueueWindow window;
    TimeConditioning time;
    RotaryTable rotary;  // windows of equal length share its tensors
    at::Tensor change;   // of the noise level in a step: [1, 1, updated frames, 1, 1]
  };

  static std::vector<WindowPlan> make_plans(const Request& request, const Transformer& model, const Schedule& schedule,
                                            const std::vector<QueueWindow>& windows) {
    std::map<int64_t, RotaryTable> tables;  // by frames
    std::vector<WindowPlan> plans;
    for (const QueueWindow& window : windows) {
      const int64_t frames = window.input.size();
      if (!tables.contains(frames)) {
        const TokenGrid grid =
            model.grid({1, request.channels, frames, request.latent_height, request.latent_width});
        tables.emplace(frames, model.rotary().table(grid, 0, model.device()));
      }
      std::vector<float> change;
      for (int64_t slot = window.updated.begin; slot < window.updated.end; ++slot) {
        const int64_t k = step_of(slot, schedule.steps());
        change.push_back(static_cast<float>(schedule.sigmas[k + 1] - schedule.sigmas[k]));
      }
      plans.push_back({window, time_of(model, schedule, window.input), tables.at(frames),
                       at::tensor(change, at::kFloat).to(model.device()).view({1, 1, -1, 1, 1})});
    }
    return plans;
  }

  static TimeConditioning time_of(const Transformer& model, const Schedule& schedule, const Share& slots) {
    std::vector<double> timesteps;
    for (int64_t slot = slots.begin; slot < slots.end; ++slot)
      timesteps.push_back(schedule.timesteps[step_of(slot, schedule.steps())]);
    return model.time_conditioning(at::tensor(timesteps, at::kFloat));
  }

  // The first `window` frames, denoised at one noise level as usual. Every rank makes them for itself.
  at::Tensor opening_frames(const Request& request, const DenoiseContext& context, const Schedule& schedule,
                            const TextContext& text, int64_t window) const {
    const NvtxRange range("opening frames");
    const Transformer& model = context.transformer;
    const auto sampler = make_sampler(request.sampler, request.scheduler, schedule);
    LocalAttention attention;
    // A video shorter than the window still fills the queue.
    Request longer = request;
    if (request.initial_noise.defined() && request.initial_noise.size(2) < window) longer.initial_noise = at::Tensor();
    at::Tensor latents = frame_noise(longer, 0, window).to(model.device());
    const TokenGrid grid = model.grid(latents.sizes());
    const RotaryTable rotary = model.rotary().table(grid, 0, model.device());
    for (int64_t step = 0; step < schedule.steps(); ++step) {
      const auto time = model.time_conditioning(at::scalar_tensor(schedule.timesteps[step]).view({1}));
      const auto span = context.recorder.compute({-1, step, 0, model.config().num_layers - 1, 0});
      at::Tensor hidden = model.embed(duplicate_for_guidance(request, latents));
      model.forward_layers(model.parts().layers, hidden, time, text, rotary, attention);
      latents = sampler->step(apply_guidance(request, model.head(hidden, time, grid)), latents);
    }
    return latents;
  }

  // Each slot's opening frame with noise of the slot's level: the first one until the window's worth of frames is left.
  static Slots first_queue(const Request& request, const Schedule& schedule, const at::Tensor& opening,
                           const Share& slots) {
    Request fresh = request;
    fresh.initial_noise = at::Tensor();
    fresh.seed += kQueueSeed;
    const int64_t steps = schedule.steps(), first = std::max<int64_t>(0, steps - opening.size(2));
    const int64_t before = opening.size(2);  // noise of negative slots comes first
    std::vector<at::Tensor> frames;
    for (int64_t slot = slots.begin; slot < slots.end; ++slot) {
      const double sigma = schedule.sigmas[step_of(slot, steps)];
      const at::Tensor noise = frame_noise(fresh, slot + before, slot + before + 1).to(opening.device());
      const int64_t frame = std::max<int64_t>(0, slot - first);
      frames.push_back(at::lerp(opening.slice(2, frame, frame + 1), noise, sigma));
    }
    return {slots, at::cat(frames, 2)};
  }

  // The updated slots of a window after their step, which is of first order, as the authors' is.
  static at::Tensor step(const Request& request, const Transformer& model, const TextContext& text,
                         SelfAttention& attention, const Slots& queue, const WindowPlan& plan) {
    const QueueWindow& window = plan.window;
    const at::Tensor input = queue.of(window.input);
    at::Tensor hidden = model.embed(duplicate_for_guidance(request, input));
    model.forward_layers(model.parts().layers, hidden, plan.time, text, plan.rotary, attention);
    const at::Tensor prediction = apply_guidance(request, model.head(hidden, plan.time, model.grid(input.sizes())))
                                      .slice(2, window.updated.begin - window.input.begin);
    return queue.of(window.updated) + plan.change * prediction;
  }

  // The queue after every frame has moved down a slot: [frames seen | own slots], from own and neighbours' frames.
  // entering: the video's frame that enters at the tail.
  static at::Tensor shift(const Request& request, Exchange& exchange, const Slots& queue, const at::Tensor& latents,
                          int64_t seen, int64_t active, int64_t entering) {
    const int64_t rank = exchange.rank();
    const bool head = rank == 0, tail = rank == active - 1;
    auto frames_shape = [&](int64_t frames) {
      auto shape = latents.sizes().vec();
      shape[2] = frames;
      return shape;
    };
    Exchange::Incoming from_below, from_above;
    if (!head && seen > 1) from_below = exchange.receive(frames_shape(seen - 1), latents.options(), rank - 1);
    if (!tail) from_above = exchange.receive(frames_shape(1), latents.options(), rank + 1);
    if (!tail && seen > 1) exchange.send(latents.slice(2, latents.size(2) - (seen - 1)), rank + 1);
    if (!head) exchange.send(latents.slice(2, 0, 1), rank - 1);

    std::vector<at::Tensor> frames;
    if (seen > 1) frames.push_back(head ? queue.latents.slice(2, 1, seen) : from_below.take());
    if (seen > 0)
      frames.push_back(latents);  // its first frame is now one that is only seen
    else
      frames.push_back(latents.slice(2, 1));
    if (tail) {
      Request any = request;
      if (request.initial_noise.defined() && entering >= request.initial_noise.size(2)) any.initial_noise = at::Tensor();
      frames.push_back(frame_noise(any, entering, entering + 1).to(latents.device()));
    } else {
      frames.push_back(from_above.take());
    }
    exchange.finish_sends();
    return at::cat(frames, 2);
  }

  static constexpr uint64_t kQueueSeed = 0x51ed;  // the queue's first noise is not the video's
  int64_t window_frames_;
  bool lookahead_;
};

}  // namespace

StrategyEntry fifo_strategy() {
  return {.name = "fifo",
          .description = "a queue of latent frames, one at each noise level, in windows over the ranks (arXiv 2405.11473)",
          .options = {{"window-frames", "latent frames that go through the transformer together", "16", {}, 1},
                      {"lookahead", "windows overlap by half, and only the noisier half is updated", "on", {"on", "off"}}},
          .make = [](const OptionValues& options) { return std::make_unique<Fifo>(options); },
          .streams_blocks = true};
}

}  // namespace dualparal
