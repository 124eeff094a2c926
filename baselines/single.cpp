// SPDX-License-Identifier: Apache-2.0
#include "baselines/single.h"

#include "base/errors.h"
#include "base/nvtx.h"
#include "strategy/denoise/denoiser.h"
#include "strategy/denoise/local_attention.h"

namespace dualparal {
namespace {

class Single final : public Strategy {
 public:
  StrategyPlan plan(const Workload& work) const override {
    check_usage(work.world_size == 1, "strategy 'single' runs on one rank, got {} (--nproc 1)", work.world_size);
    return {.parts = whole_model(work), .key_value_tokens = static_cast<double>(work.tokens)};
  }

  void denoise(const DenoiseContext& context) override {
    const Denoiser denoiser(context.request, context.transformer);
    const auto sampler = denoiser.make_sampler();
    at::Tensor latents = denoiser.noise({0, context.request.latent_frames});
    auto pass = denoiser.pass(context.request.latent_frames);
    LocalAttention attention;
    for (int64_t step = 0; step < denoiser.steps(); ++step) {
      const NvtxRange range("step {}", step);
      pass.time = denoiser.time(step);
      const auto span = context.recorder.compute({0, step, 0, context.transformer.config().num_layers - 1});
      latents = sampler->step(denoiser.predict(pass, latents, attention), latents);
      context.progress(step + 1, denoiser.steps());
    }
    context.sink.push(latents);
  }
};

}  // namespace

StrategyEntry single_strategy() {
  return strategy_entry("single", "one rank holds all layers and denoises all frames at once",
                        [] { return std::make_unique<Single>(); });
}

}  // namespace dualparal
