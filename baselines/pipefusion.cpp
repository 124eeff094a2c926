// SPDX-License-Identifier: Apache-2.0
#include "baselines/pipefusion.h"

#include <algorithm>
#include <deque>

#include "base/errors.h"
#include "baselines/patch_cache.h"
#include "strategy/parallel/partition.h"
#include "strategy/parallel/pipeline_stage.h"
#include "strategy/parallel/pipeline_traffic.h"

namespace dualparal {
namespace {

struct Options {
  int64_t patches = 16, synchronous_steps = 1;
  GuidanceHalves halves = GuidanceHalves::kBatched;
  PartitionOption partition;

  void declare(OptionSet& set) {
    set.number("patches", patches,
               "patches of the video, each of whole latent frames; a video of fewer frames has one of each frame", 1);
    set.number("synchronous-steps", synchronous_steps, "first steps, taken by the whole video at once", 1);
    partition.declare(set);
    declare_micro_batches(set, halves);
  }
};

// What goes through the pipeline at a time: the whole video, or a patch of it.
struct Turn {
  int64_t step = 0;
  Range patches = {};  // all of them, or one
  int64_t need = -1;   // position of the last turn whose prediction it starts from; -1: none
};

// All turns of a run, in the order in which every stage takes them. whole_steps: first steps of the whole video.
std::vector<Turn> turns_of(int64_t steps, int64_t whole_steps, int64_t patches) {
  std::vector<Turn> turns;
  for (int64_t step = 0; step < std::min(steps, whole_steps); ++step) turns.push_back({step, {0, patches}, step - 1});
  for (int64_t step = whole_steps; step < steps; ++step)
    for (int64_t patch = 0; patch < patches; ++patch)
      turns.push_back({step,
                       {patch, patch + 1},
                       step == whole_steps ? whole_steps - 1 : static_cast<int64_t>(turns.size()) - patches});
  return turns;
}

// On stage 0: the latents of every patch, each with a sampler of its own.
class Patches {
 public:
  Patches(const Denoiser& denoiser, std::vector<Range> frames) : frames_(std::move(frames)) {
    for (const Range& range : frames_) {
      latents_.push_back(denoiser.noise(range));
      samplers_.push_back(denoiser.make_sampler());
    }
  }

  /// [1, channels, frames of the patches, h, w]
  at::Tensor latents(const Range& patches) const {
    return at::cat(std::vector<at::Tensor>(latents_.begin() + patches.begin, latents_.begin() + patches.end), 2);
  }

  /// Takes them a step further. prediction: of their frames.
  void step(const Range& patches, const at::Tensor& prediction) {
    const int64_t first = frames_[patches.begin].begin;
    for (int64_t p = patches.begin; p < patches.end; ++p)
      latents_[p] =
          samplers_[p]->step(prediction.slice(2, frames_[p].begin - first, frames_[p].end - first), latents_[p]);
  }

 private:
  std::vector<Range> frames_;
  std::vector<at::Tensor> latents_;
  std::vector<std::unique_ptr<Sampler>> samplers_;
};

class PipeFusion final : public Strategy {
 public:
  explicit PipeFusion(const Options& options) : options_(options) {}

  StrategyPlan plan(const Workload& work) const override {
    check_usage(work.config.patch_size[0] == 1,
                "pipefusion needs a model whose patches are one latent frame long, not {}", work.config.patch_size[0]);
    check_usage(
        work.experts == 1,
        "pipefusion cannot run a model of two experts: where the second takes over, the features kept of the step "
        "before are the first one's");
    const auto order = turns(work.steps, work.latent_frames);
    const auto jobs = jobs_of(order, split_frames(work.latent_frames));
    std::vector<int64_t> needs, lengths, cached;
    for (const Turn& turn : order) {
      needs.push_back(turn.need);
      lengths.push_back(turn.patches.size());
      cached.push_back(work.latent_frames - jobs[cached.size()].frames);
    }
    const StageGrid grid{.stages = work.world_size};
    const auto parts = options_.partition.stages(work, work.world_size, typical_window(work, jobs, cached));
    return {.parts = parts,
            .key_value_tokens = static_cast<double>(work.tokens),  // of both halves, in turn too: they are kept
            .traffic = pipeline_traffic(work, grid, parts, jobs),
            .slots = count_slots(needs, work.world_size, micro_batches(options_.halves, work.guided()), lengths)};
  }

  void check_snapshots(const Workload&, std::optional<int64_t>) const override {
    throw UsageError(
        "--snapshot: pipefusion sees features of the step before, which its ranks hold for the whole video; no "
        "snapshot "
        "keeps them");
  }

  void denoise(const DenoiseContext& context) override {
    const Denoiser denoiser(context.request, context.transformer, options_.halves);
    const int64_t frames = context.request.latent_frames;
    const auto split = split_frames(frames);
    const auto order = turns(denoiser.steps(), frames);
    PipelineStage stage(denoiser, context.comm, context.recorder, {.stages = context.comm.world_size()},
                        jobs_of(order, split), context.receive_ahead);
    std::optional<Patches> patches;
    if (stage.first()) patches.emplace(denoiser, split);
    const PipelineStage::Apply apply = [&](int64_t turn, const at::Tensor& prediction) {
      patches->step(order[turn].patches, prediction);
    };
    const int64_t frame_tokens = denoiser.grid(1).tokens();
    std::deque<PatchCache> caches;  // by micro-batch
    for (int64_t m = 0; m < denoiser.micro_batches(); ++m) caches.emplace_back(frames * frame_tokens);

    const auto total = static_cast<int64_t>(order.size());
    for (int64_t i = 0; i < total; ++i) {
      const Turn& turn = order[i];
      const Range seen = frames_of(turn, split);
      for (PatchCache& cache : caches)
        cache.begin_job({seen.begin * frame_tokens, seen.end * frame_tokens},
                        turn.step + 1 == options_.synchronous_steps && i + 1 < total);
      stage.apply_until(turn.need, apply);
      stage.run(patches ? patches->latents(turn.patches) : at::Tensor(),
                [&](int64_t micro_batch) -> SelfAttention& { return caches[micro_batch]; });
      context.progress(i + 1, total);
    }
    stage.apply_until(total - 1, apply);
    stage.finish();
    if (patches) context.sink.push(patches->latents({0, static_cast<int64_t>(split.size())}));
  }

 private:
  std::vector<Range> split_frames(int64_t frames) const {
    return even_ranges(frames, std::min(options_.patches, frames));
  }

  std::vector<Turn> turns(int64_t steps, int64_t frames) const {
    return turns_of(steps, options_.synchronous_steps, static_cast<int64_t>(split_frames(frames).size()));
  }

  static Range frames_of(const Turn& turn, const std::vector<Range>& split) {
    return {split[turn.patches.begin].begin, split[turn.patches.end - 1].end};
  }

  // A patch is what a block is to other pipelines; the whole video counts as the first one.
  static std::vector<StageJob> jobs_of(const std::vector<Turn>& order, const std::vector<Range>& split) {
    std::vector<StageJob> jobs;
    for (const Turn& turn : order) {
      const Range frames = frames_of(turn, split);
      jobs.push_back({turn.patches.begin, turn.step, frames.size(), 0, frames.size(), frames.begin, frames.begin});
    }
    return jobs;
  }

  Options options_;
};

}  // namespace

StrategyEntry pipefusion_strategy() {
  auto entry =
      strategy_entry("pipefusion",
                     "layers split over the ranks, patches of the video flow through them, seeing each other a step "
                     "old (arXiv 2405.14430)",
                     Options(), [](const Options& options) { return std::make_unique<PipeFusion>(options); });
  entry.repeats = Repeats::kSteps;
  return entry;
}

}  // namespace dualparal
