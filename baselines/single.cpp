// SPDX-License-Identifier: Apache-2.0
#include "baselines/single.h"

#include "base/errors.h"
#include "base/nvtx.h"
#include "strategy/denoise/guidance.h"
#include "strategy/denoise/local_attention.h"
#include "strategy/denoise/noise.h"

namespace dualparal {
namespace {

class Single final : public Strategy {
 public:
  TransformerParts parts(const TransformerConfig& config, const RankInfo& rank) const override {
    check_usage(rank.world_size == 1, "strategy 'single' runs on one rank, got {} (--nproc 1)", rank.world_size);
    return {{0, config.num_layers}, true, true};
  }

  AnalyticCost analytic_cost(const Request&, const Workload& work, int64_t) const override {
    return {0, work.weights_bytes(work.layers), 2 * work.hidden_bytes(work.tokens)};
  }

  void denoise(const Request& request, const DenoiseContext& context, LatentsSink& sink) override {
    const Transformer& model = context.transformer;
    const Schedule schedule = make_schedule(request.sampler, request.scheduler, request.num_inference_steps);
    const auto sampler = make_sampler(request.sampler, request.scheduler, schedule);
    const TextContext text = model.text_context(guidance_batch(request));
    at::Tensor latents = frame_noise(request, 0, request.latent_frames).to(model.device());
    const TokenGrid grid = model.grid(latents.sizes());
    const RotaryTable rotary = model.rotary().table(grid, 0, model.device());
    LocalAttention attention;

    for (int64_t step = 0; step < schedule.steps(); ++step) {
      const NvtxRange range("step {}", step);
      const auto time = model.time_conditioning(at::scalar_tensor(schedule.timesteps[step]).view({1}));
      const auto span = context.recorder.compute({0, step, 0, model.config().num_layers - 1, 0});
      at::Tensor hidden = model.embed(duplicate_for_guidance(request, latents));
      model.forward_layers(model.parts().layers, hidden, time, text, rotary, attention);
      const at::Tensor prediction = apply_guidance(request, model.head(hidden, time, grid));
      latents = sampler->step(prediction, latents);
      context.progress(step + 1, schedule.steps());
    }
    sink.push(latents);
  }
};

}  // namespace

StrategyEntry single_strategy() {
  return {"single", "one rank holds all layers and denoises all frames at once", {},
          [](const OptionValues&) { return std::make_unique<Single>(); }};
}

}  // namespace dualparal
