// SPDX-License-Identifier: Apache-2.0
#include "baselines/naive_pipeline.h"

#include <numeric>

#include "strategy/denoise/local_attention.h"
#include "strategy/parallel/partition.h"
#include "strategy/parallel/pipeline_stage.h"
#include "strategy/parallel/pipeline_traffic.h"

namespace dualparal {
namespace {

struct Options {
  GuidanceHalves halves = GuidanceHalves::kBatched;
  void declare(OptionSet& set) { declare_micro_batches(set, halves); }
};

class NaivePipeline final : public Strategy {
 public:
  explicit NaivePipeline(const Options& options) : options_(options) {}

  StrategyPlan plan(const Workload& work) const override {
    const auto tokens = static_cast<double>(work.tokens), all = static_cast<double>(work.steps) * tokens;
    std::vector<int64_t> needs(work.steps);
    std::iota(needs.begin(), needs.end(), -1);  // every step waits for the one before
    return {.parts = partition(work.config, work.world_size),
            .key_value_tokens = tokens * share_at_a_time(options_.halves, work.guided()),
            .traffic = pipeline_traffic(work, all, all),
            .slots = count_slots(needs, work.world_size, micro_batches(options_.halves, work.guided()))};
  }

  void denoise(const DenoiseContext& context) override {
    const int64_t frames = context.request.latent_frames;
    const Denoiser denoiser(context.request, context.transformer, options_.halves);
    std::vector<StageJob> jobs;
    for (int64_t step = 0; step < denoiser.steps(); ++step) jobs.push_back({0, step, frames, 0, frames});
    // A step's messages wait for the step before: buffers for those of the next would only take memory.
    PipelineStage stage(denoiser, context.comm, context.recorder, jobs,
                        static_cast<size_t>(denoiser.micro_batches() - 1));
    LocalAttention attention;
    const auto sampler = denoiser.make_sampler();
    at::Tensor latents;
    if (stage.first()) latents = denoiser.noise({0, frames});

    for (int64_t step = 0; step < denoiser.steps(); ++step) {
      stage.run(latents, [&](int64_t) -> SelfAttention& { return attention; });
      stage.finish();
      stage.apply_until(step,
                        [&](int64_t, const at::Tensor& prediction) { latents = sampler->step(prediction, latents); });
      context.progress(step + 1, denoiser.steps());
    }
    if (stage.first()) context.sink.push(latents);
  }

 private:
  Options options_;
};

}  // namespace

StrategyEntry naive_pipeline_strategy() {
  auto entry =
      strategy_entry("naive_pipeline", "layers split over the ranks, all frames at once: stages wait for each other",
                     Options(), [](const Options& options) { return std::make_unique<NaivePipeline>(options); });
  entry.exact = entry.whole_sequence = true;
  return entry;
}

}  // namespace dualparal
