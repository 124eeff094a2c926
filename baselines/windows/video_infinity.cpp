// SPDX-License-Identifier: Apache-2.0
#include "baselines/windows/video_infinity.h"

#include <algorithm>

#include "base/errors.h"
#include "base/measure/nvtx.h"
#include "baselines/windows/dual_scope_attention.h"
#include "strategy/denoise/denoiser.h"
#include "strategy/snapshot/step_snapshots.h"

namespace dualparal {
namespace {

enum class Positions { kAbsolute, kLocal };

struct Options {
  int64_t context_frames = 8, global_frames = 16, phase_timestep = 800, phase_bias = 0;
  Positions positions = Positions::kAbsolute;
  GuidanceHalves halves = GuidanceHalves::kBatched;

  void declare(OptionSet& set) {
    set.number("context-frames", context_frames, "latent frames seen of either neighbouring clip");
    set.number("global-frames", global_frames, "latent frames seen of the whole video, evenly spaced");
    set.number("phase-timestep", phase_timestep,
               "from this timestep (0..1000) on down, local context is favoured; before, global");
    set.number("phase-bias", phase_bias, "added to the scores of the context that is favoured; 0: none is");
    set.choice<Positions>("window-position", positions,
                          "temporal positions of the video, or of the frames that a clip sees, counted without gaps",
                          {{"absolute", Positions::kAbsolute}, {"local", Positions::kLocal}});
    declare_micro_batches(set, halves);
  }
};

class VideoInfinity final : public Strategy {
 public:
  explicit VideoInfinity(const Options& options) : options_(options) {}

  StrategyPlan plan(const Workload& work) const override {
    check_usage(work.config.patch_size[0] == 1,
                "video_infinity needs a model whose patches are one latent frame long, not {}",
                work.config.patch_size[0]);
    const auto clips = clips_of(work.latent_frames, work.world_size);
    const auto sights = sights_of(clips, work.latent_frames);
    const auto frame = static_cast<double>(work.frame_tokens);
    StrategyPlan plan{.parts = whole_model(work)};
    for (int64_t to = 0; to < work.world_size; ++to) {
      const auto seen = static_cast<double>(sights[to].local.size() + sights[to].global.size());
      const double share = share_at_a_time(options_.halves, work.guided());
      plan.key_value_tokens =
          std::max(plan.key_value_tokens, (seen + static_cast<double>(clips[to].size())) * frame * share);
      if (to > 0) plan.block_starts.push_back(clips[to].begin);
      for (int64_t from = 0; from < work.world_size; ++from) {
        if (from == to) continue;
        const auto count =
            frames_within(sights[to].local, clips[from]).size() + frames_within(sights[to].global, clips[from]).size();
        const double latents = to == 0 ? work.prediction_bytes(static_cast<double>(clips[from].size()) * frame) : 0;
        plan.traffic.push_back({{from, to},
                                static_cast<double>(work.steps * work.config.num_layers) * 2 *
                                        work.hidden_bytes(static_cast<double>(count) * frame) +
                                    latents});
      }
    }
    return plan;
  }

  void check_snapshots(const Workload& work, std::optional<int64_t> kept_ranks) const override {
    check_usage(
        kept_ranks.value_or(work.world_size) == work.world_size,
        "--resume: video_infinity has a clip for every rank, and the kept run had {} ranks; {} would make another "
        "video",
        kept_ranks.value_or(0), work.world_size);
  }

  void denoise(const DenoiseContext& context) override {
    const int64_t rank = context.comm.rank(), ranks = context.comm.world_size();
    const auto clips = clips_of(context.request.latent_frames, ranks);
    const Range own = clips[rank];
    const Denoiser denoiser(context.request, context.transformer, options_.halves, own);
    const auto sampler = denoiser.make_sampler();
    at::Tensor latents = denoiser.noise(own);
    const auto sights = sights_of(clips, context.request.latent_frames);
    const bool local = options_.positions == Positions::kLocal;
    Pass pass = denoiser.pass(own, local ? place_of(own.begin, sights[rank], own) : own.begin);
    pass.prompt = denoiser.prompt_at(own.begin);
    Exchange exchange(context.comm, context.recorder);
    DualScopeAttention attention(exchange, clips, sights, pass.grid.frame_tokens());
    if (local)
      attention.place_on_arrival(places_of(sights[rank].local, sights[rank], own, denoiser),
                                 places_of(sights[rank].global, sights[rank], own, denoiser));

    StepSnapshots snapshots(context.snapshots, {own, rank, ranks}, denoiser.steps());
    snapshots.restore(latents, *sampler);
    WorkLabel label{.block = rank, .frames = {own.begin, own.end - 1}};
    for (int64_t step = snapshots.first(); step < denoiser.steps(); ++step) {
      const NvtxRange range("step {}", step);
      label.step = step;
      label.last_layer = context.transformer.config().num_layers - 1;
      attention.set_bias(bias_at(denoiser.schedule().timesteps[step]));
      exchange.begin(label);
      pass.time = denoiser.time(step);
      const auto span = context.recorder.compute(label);
      latents = sampler->step(denoiser.predict(pass, latents, attention), latents);
      context.progress(step + 1, denoiser.steps());
      snapshots.after(step + 1, latents, *sampler);
    }
    label.last_layer = -1;
    exchange.begin(label);
    if (rank == 0) return collect(latents, clips, exchange, context.sink);
    exchange.send(latents, 0);
    exchange.finish_sends();
  }

 private:
  static std::vector<Range> clips_of(int64_t frames, int64_t ranks) {
    check_usage(frames >= ranks, "video_infinity: {} latent frames cannot be {} clips", frames, ranks);
    return even_ranges(frames, ranks);
  }

  std::vector<Sight> sights_of(const std::vector<Range>& clips, int64_t frames) const {
    std::vector<Sight> sights;
    for (const Range& clip : clips)
      sights.push_back(sight_of(clip, frames, options_.context_frames, options_.global_frames));
    return sights;
  }

  // A frame's place among all that a clip sees, its own too.
  static int64_t place_of(int64_t frame, const Sight& sight, const Range& clip) {
    int64_t before = std::clamp<int64_t>(frame - clip.begin, 0, clip.size());
    for (const auto* seen : {&sight.local, &sight.global})
      before += std::ranges::count_if(*seen, [&](int64_t other) { return other < frame; });
    return before;
  }

  // The rotary table of some of them.
  static RotaryTable places_of(const std::vector<int64_t>& frames, const Sight& sight, const Range& clip,
                               const Denoiser& denoiser) {
    if (frames.empty()) return {};
    std::vector<at::Tensor> cos, sin;
    for (const int64_t frame : frames) {
      const RotaryTable one = denoiser.pass({frame, frame + 1}, place_of(frame, sight, clip)).rotary;
      cos.push_back(one.cos);
      sin.push_back(one.sin);
    }
    return {at::cat(cos), at::cat(sin)};
  }

  ScopeBias bias_at(double timestep) const {
    const auto bias = static_cast<double>(options_.phase_bias);
    return timestep > static_cast<double>(options_.phase_timestep) ? ScopeBias{0, bias} : ScopeBias{bias, 0};
  }

  // Rank 0: its own clip, then the others', in order.
  static void collect(const at::Tensor& latents, const std::vector<Range>& clips, Exchange& exchange,
                      LatentsSink& sink) {
    sink.push(latents);
    auto shape = latents.sizes().vec();
    for (int64_t from = 1; from < static_cast<int64_t>(clips.size()); ++from) {
      shape[2] = clips[from].size();
      sink.push(exchange.receive(shape, latents.options(), from).take());
    }
  }

  Options options_;
};

}  // namespace

StrategyEntry video_infinity_strategy() {
  auto entry =
      strategy_entry("video_infinity",
                     "a clip for every rank; attention sees frames of the neighbours and of the whole video "
                     "(arXiv 2406.16260)",
                     Options(), [](const Options& options) { return std::make_unique<VideoInfinity>(options); });
  entry.prompts = PromptScope::kBlock;
  entry.repeats = Repeats::kSteps;
  return entry;
}

}  // namespace dualparal
