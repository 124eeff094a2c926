// SPDX-License-Identifier: Apache-2.0
#include "baselines/windows/context_windows.h"

#include "base/errors.h"
#include "baselines/windows/window_rank.h"

namespace dualparal {
namespace {

struct Options : WindowOptions {
  void declare(OptionSet& set) {
    set.number("window-frames", window_frames, "latent frames that go through the transformer together", 1);
    set.number("overlap-frames", overlap_frames, "latent frames that a window has in common with the one before");
    set.choice<WindowWeights>(
        "window-weights", weights, "how much a frame of a window counts where windows overlap",
        {{"flat", WindowWeights::kFlat}, {"pyramid", WindowWeights::kPyramid}, {"linear", WindowWeights::kLinear}});
    set.toggle("free-noise", free_noise, "initial noise of the first window's frames again and again, shuffled");
    set.toggle("first-frame-fix", first_frame_fix,
               "a window that does not begin the video sees the latent frame before it, too");
    declare_micro_batches(set, halves);
  }
};

class ContextWindows final : public Strategy {
 public:
  explicit ContextWindows(const Options& options) : options_(options) {
    check_usage(options.overlap_frames < options.window_frames,
                "--overlap-frames {}: windows of {} latent frames (--window-frames) can overlap by {} at most",
                options.overlap_frames, options.window_frames, options.window_frames - 1);
  }

  StrategyPlan plan(const Workload& work) const override {
    check_usage(work.config.patch_size[0] == 1,
                "context_windows needs a model whose patches are one latent frame long, not {}",
                work.config.patch_size[0]);
    const auto windows = options_.windows(work.latent_frames);
    const auto dealt = deal_windows(windows, work.world_size, options_.seen_before());
    const auto bytes = [&](const Range& frames) {
      return work.prediction_bytes(static_cast<double>(frames.size() * work.frame_tokens));
    };
    const int64_t seen = windows[0].size() + (windows.size() > 1 ? options_.seen_before() : 0);
    StrategyPlan plan{.parts = whole_model(work),
                      .key_value_tokens = static_cast<double>(seen * work.frame_tokens) *
                                          share_at_a_time(options_.halves, work.guided())};
    for (size_t w = 1; w < windows.size(); ++w) plan.block_starts.push_back(windows[w].begin);
    for (int64_t from = 0; from < work.world_size; ++from) {
      for (int64_t to = 0; to < work.world_size; ++to) {
        if (to == from) continue;
        const Range common = intersection(dealt[from].predicted, dealt[to].held);
        plan.traffic.push_back({{from, to}, static_cast<double>(work.steps) * bytes(common)});
      }
      if (from > 0) plan.traffic.push_back({{from, 0}, bytes(finished_by(dealt, from))});
    }
    return plan;
  }

  at::Tensor initial_noise(const Request& request) const override {
    return window_noise(request, options_, {0, request.latent_frames});
  }

  void check_snapshots(const Workload&, std::optional<int64_t>) const override {}

  void denoise(const DenoiseContext& context) override { WindowRank(context, options_).run(); }

 private:
  Options options_;
};

}  // namespace

StrategyEntry context_windows_strategy() {
  auto entry =
      strategy_entry("context_windows",
                     "overlapping windows of frames, predicted apart and averaged in every step (as in ComfyUI; "
                     "FreeNoise, arXiv 2310.15169)",
                     Options(), [](const Options& options) { return std::make_unique<ContextWindows>(options); });
  entry.prompts = PromptScope::kBlock;
  entry.repeats = Repeats::kSteps;
  return entry;
}

}  // namespace dualparal
