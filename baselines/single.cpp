// SPDX-License-Identifier: Apache-2.0
#include "baselines/single.h"

#include "base/errors.h"
#include "strategy/denoise/denoise_alone.h"

namespace dualparal {
namespace {

struct Options {
  GuidanceHalves halves = GuidanceHalves::kBatched;
  void declare(OptionSet& set) { declare_micro_batches(set, halves); }
};

class Single final : public Strategy {
 public:
  explicit Single(const Options& options) : options_(options) {}

  StrategyPlan plan(const Workload& work) const override {
    check_usage(work.world_size == 1, "strategy 'single' runs on one rank, got {} (--nproc 1)", work.world_size);
    return {.parts = whole_model(work),
            .key_value_tokens = static_cast<double>(work.tokens) * share_at_a_time(options_.halves, work.guided())};
  }

  void check_snapshots(const Workload&, std::optional<int64_t>) const override {}

  void denoise(const DenoiseContext& context) override {
    const Denoiser denoiser(context.request, context.transformer, options_.halves);
    const int64_t frames = context.request.latent_frames;
    const auto report = [&](int64_t done) { context.progress(done, denoiser.steps()); };
    StepSnapshots snapshots(context.snapshots, {.frames = {0, frames}}, denoiser.steps());
    context.sink.push(denoise_alone(denoiser, denoiser.noise({0, frames}), denoiser.pass({0, frames}), context.recorder,
                                    {}, report, &snapshots));
  }

 private:
  Options options_;
};

}  // namespace

StrategyEntry single_strategy() {
  auto entry = strategy_entry("single", "one rank holds all layers and denoises all frames at once", Options(),
                              [](const Options& options) { return std::make_unique<Single>(options); });
  entry.exact = entry.whole_sequence = true;
  entry.repeats = Repeats::kSteps;
  return entry;
}

}  // namespace dualparal
