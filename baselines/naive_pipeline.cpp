// SPDX-License-Identifier: Apache-2.0
#include "baselines/naive_pipeline.h"

#include <numeric>

#include "strategy/denoise/local_attention.h"
#include "strategy/parallel/partition.h"
#include "strategy/parallel/pipeline_stage.h"
#include "strategy/parallel/pipeline_traffic.h"
#include "strategy/snapshot/step_snapshots.h"

namespace dualparal {
namespace {

struct Options {
  GuidanceHalves halves = GuidanceHalves::kBatched;
  PartitionOption partition;
  GroupOptions groups;

  void declare(OptionSet& set) {
    groups.declare(set);
    partition.declare(set);
    declare_micro_batches(set, halves);
  }
};

class NaivePipeline final : public Strategy {
 public:
  explicit NaivePipeline(const Options& options) : options_(options) { options.groups.check_halves(options.halves); }

  StrategyPlan plan(const Workload& work) const override {
    const auto jobs = jobs_of(0, work.steps, work.latent_frames);
    const StageGrid grid = options_.groups.grid(work.world_size, work.guided());
    const auto stages = options_.partition.stages(work, grid.stages, typical_window(work, jobs));
    std::vector<int64_t> needs(work.steps);
    std::iota(needs.begin(), needs.end(), -1);  // every step waits for the one before
    return {.parts = grid.by_rank(stages),
            .key_value_tokens = static_cast<double>(work.tokens) * share_at_a_time(options_.halves, work.guided()) *
                                grid.share_of_keys(work.config.num_attention_heads),
            .traffic = pipeline_traffic(work, grid, stages, jobs),
            .slots = count_slots(needs, grid.stages, micro_batches(options_.halves, work.guided()))};
  }

  void check_snapshots(const Workload&, std::optional<int64_t>) const override {}

  void denoise(const DenoiseContext& context) override {
    const int64_t frames = context.request.latent_frames;
    const StageGrid grid = options_.groups.grid(context.comm.world_size(), context.request.guided());
    const Denoiser denoiser(context.request, context.transformer, grid.halves_of(context.comm.rank(), options_.halves));
    // A step's messages wait for the step before: buffers for those of the next would only take memory.
    StepSnapshots snapshots(context.snapshots, {{0, frames}, context.comm.rank()}, denoiser.steps());
    const int64_t first = snapshots.first();
    PipelineStage stage(denoiser, context.comm, context.recorder, grid, jobs_of(first, denoiser.steps(), frames),
                        static_cast<size_t>(denoiser.micro_batches() - 1));
    LocalAttention attention;
    const auto sampler = denoiser.make_sampler();
    at::Tensor latents;
    if (stage.first()) {
      latents = denoiser.noise({0, frames});
      snapshots.restore(latents, *sampler);
    }

    for (int64_t step = first; step < denoiser.steps(); ++step) {
      stage.allow(static_cast<size_t>(snapshots.certain_before(step) - first));
      stage.run(latents, [&](int64_t) -> SelfAttention& { return attention; });
      stage.finish();
      stage.apply_until(step - first,
                        [&](int64_t, const at::Tensor& prediction) { latents = sampler->step(prediction, latents); });
      context.progress(step + 1, denoiser.steps());
      snapshots.after(step + 1, latents, *sampler);
    }
    if (context.comm.rank() == 0) context.sink.push(latents);
  }

 private:
  static std::vector<StageJob> jobs_of(int64_t first, int64_t steps, int64_t frames) {
    std::vector<StageJob> jobs;
    for (int64_t step = first; step < steps; ++step) jobs.push_back({0, step, frames, 0, frames});
    return jobs;
  }

  Options options_;
};

}  // namespace

StrategyEntry naive_pipeline_strategy() {
  auto entry =
      strategy_entry("naive_pipeline", "layers split over the ranks, all frames at once: stages wait for each other",
                     Options(), [](const Options& options) { return std::make_unique<NaivePipeline>(options); });
  entry.exact = entry.whole_sequence = true;
  entry.repeats = Repeats::kSteps;
  return entry;
}

}  // namespace dualparal
