// SPDX-License-Identifier: Apache-2.0
#include "baselines/naive_pipeline.h"

#include <numeric>

#include "base/nvtx.h"
#include "strategy/denoise/local_attention.h"
#include "strategy/denoise/noise.h"
#include "strategy/parallel/partition.h"
#include "strategy/parallel/pipeline_stage.h"

namespace dualparal {
namespace {

class NaivePipeline final : public Strategy {
 public:
  explicit NaivePipeline(const OptionValues& options)
      : micro_batches_(std::stol(options.at("guidance-micro-batches"))) {}

  TransformerParts parts(const TransformerConfig& config, const RankInfo& rank) const override {
    return partition(config, rank.world_size)[rank.rank];
  }

  AnalyticCost analytic_cost(const Request&, const Workload& work, int64_t world_size) const override {
    const auto tokens = static_cast<double>(work.tokens);
    const double hop = work.hidden_bytes(tokens) * static_cast<double>(world_size - 1);
    const double back = world_size > 1 ? tokens * static_cast<double>(work.token_bytes) : 0;
    return {static_cast<double>(work.steps) * (hop + back),
            work.weights_bytes((work.layers + world_size - 1) / world_size), 2 * work.hidden_bytes(tokens)};
  }

  std::optional<SlotCount> slots(const Request& request, int64_t world_size) const override {
    std::vector<int64_t> needs(request.num_inference_steps);
    std::iota(needs.begin(), needs.end(), -1);  // every step waits for the one before
    return count_slots(needs, world_size, request.guided() ? micro_batches_ : 1);
  }

  std::vector<Link> links(const Request&, int64_t world_size) const override { return pipeline_links(world_size); }

  void denoise(const Request& request, const DenoiseContext& context, LatentsSink& sink) override {
    const Schedule schedule = make_schedule(request.sampler, request.scheduler, request.num_inference_steps);
    std::vector<StageJob> jobs;
    for (int64_t step = 0; step < schedule.steps(); ++step)
      jobs.push_back({0, step, request.latent_frames, 0, request.latent_frames});
    PipelineStage stage(context, request, schedule, jobs, micro_batches_);
    LocalAttention attention;
    const auto sampler = make_sampler(request.sampler, request.scheduler, schedule);
    at::Tensor latents;
    if (stage.first()) latents = frame_noise(request, 0, request.latent_frames).to(context.transformer.device());

    for (const StageJob& job : stage.jobs()) {
      stage.run(latents, [&](int64_t) -> SelfAttention& { return attention; });
      if (stage.first()) {
        const at::Tensor prediction = stage.take_prediction();
        const auto span = context.recorder.compute({0, job.step, 0, -1, 0});
        latents = sampler->step(prediction, latents);
      }
      context.progress(job.step + 1, schedule.steps());
    }
    stage.finish();
    if (stage.first()) sink.push(latents);
  }

 private:
  int64_t micro_batches_;
};

}  // namespace

StrategyEntry naive_pipeline_strategy() {
  return {.name = "naive_pipeline",
          .description = "layers split over the ranks, all frames at once: stages wait for each other",
          .options = {{"guidance-micro-batches", "conditional and unconditional halves as 1 batch or 2 micro-batches",
                       "1", {"1", "2"}}},
          .make = [](const OptionValues& options) { return std::make_unique<NaivePipeline>(options); }};
}

}  // namespace dualparal
