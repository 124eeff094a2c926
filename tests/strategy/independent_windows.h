// SPDX-License-Identifier: Apache-2.0
// The example of docs/adding-a-strategy.md: windows of frames that know nothing of each other, dealt to the ranks.
#pragma once

#include "strategy/denoise/denoise_alone.h"
#include "strategy/parallel/exchange.h"
#include "strategy/strategy.h"

namespace dualparal::testing {

struct IndependentWindows final : Strategy {
  struct Options {
    int64_t window_frames = 4;
    void declare(OptionSet& set) { set.number("window-frames", window_frames, "latent frames of a window", 1); }
  } options;
  explicit IndependentWindows(const Options& given) : options(given) {}
  std::vector<Range> windows(int64_t frames) const {
    std::vector<Range> out;
    for (int64_t begin = 0; begin < frames; begin += options.window_frames)
      out.push_back({begin, std::min(frames, begin + options.window_frames)});
    return out;
  }

  StrategyPlan plan(const Workload& work) const override {
    const auto tokens = [&](int64_t frames) { return static_cast<double>(frames * work.frame_tokens); };
    StrategyPlan plan{.parts = whole_model(work), .key_value_tokens = tokens(options.window_frames)};
    int64_t rank = 0;
    for (const Range& frames : windows(work.latent_frames)) {
      if (frames.begin > 0) plan.block_starts.push_back(frames.begin);
      if (rank > 0) plan.traffic.push_back({{rank, 0}, work.prediction_bytes(tokens(frames.size()))});
      rank = (rank + 1) % work.world_size;
    }
    return plan;
  }

  void denoise(const DenoiseContext& context) override {
    const Denoiser denoiser(context.request, context.transformer);
    Exchange exchange(context.comm, context.recorder, 1);
    const auto all = windows(context.request.latent_frames);
    for (int64_t w = 0; w < static_cast<int64_t>(all.size()); ++w) {
      const int64_t owner = w % exchange.world_size();
      at::Tensor latents = denoiser.noise(all[w]);
      if (owner == exchange.rank())
        latents = denoise_alone(denoiser, latents, denoiser.pass(all[w]), context.recorder, {.block = w});
      if (owner > 0 && owner == exchange.rank()) exchange.send(latents, 0);
      if (owner > 0 && exchange.rank() == 0)
        latents = exchange.receive(latents.sizes(), latents.options(), owner).take();
      if (exchange.rank() == 0) context.sink.push(latents);
    }
    exchange.finish_sends();
  }
};

inline StrategyEntry independent_windows_strategy() {
  return strategy_entry("independent_windows", "windows that know nothing of each other", IndependentWindows::Options(),
                        [](const auto& options) { return std::make_unique<IndependentWindows>(options); });
}

}  // namespace dualparal::testing
