// SPDX-License-Identifier: Apache-2.0
#include "baselines/fifo.h"

#include <algorithm>

#include "base/errors.h"
#include "baselines/queue_rank.h"

namespace dualparal {
namespace {

struct Options {
  int64_t window_frames = 16;
  bool lookahead = true;
  GuidanceHalves halves = GuidanceHalves::kBatched;

  void declare(OptionSet& set) {
    set.number("window-frames", window_frames, "latent frames that go through the transformer together", 1);
    set.toggle("lookahead", lookahead, "windows overlap by half, and only the noisier half is updated");
    declare_micro_batches(set, halves);
  }
};

class Fifo final : public Strategy {
 public:
  explicit Fifo(const Options& options) : options_(options) {
    check_usage(!options.lookahead || options.window_frames % 2 == 0,
                "--window-frames {}: lookahead needs an even number", options.window_frames);
  }

  StrategyPlan plan(const Workload& work) const override {
    check_usage(work.config.patch_size[0] == 1, "fifo needs a model whose patches are one latent frame long, not {}",
                work.config.patch_size[0]);
    check_usage(!work.from_image,
                "fifo cannot make a video from an image: its queue is filled with copies of the first frame, which the "
                "image is, and holds frames beyond the video's end");
    const FrameQueue queue(work.steps, options_.window_frames, options_.lookahead);
    const auto frame = work.prediction_bytes(static_cast<double>(work.frame_tokens));
    const auto iterations = static_cast<double>(queue.iterations(work.latent_frames));
    StrategyPlan plan{.parts = whole_model(work),
                      .key_value_tokens = static_cast<double>(queue.window * work.frame_tokens) *
                                          share_at_a_time(options_.halves, work.guided())};
    // One frame moves down to the rank before; with lookahead, the frames that are seen move up.
    const auto seen = static_cast<double>(std::max<int64_t>(0, queue.seen - 1));
    for (int64_t rank = 1; rank < queue.active_ranks(work.world_size); ++rank) {
      plan.traffic.push_back({{rank, rank - 1}, iterations * frame});
      plan.traffic.push_back({{rank - 1, rank}, iterations * seen * frame});
    }
    return plan;
  }

  void check_snapshots(const Workload&, std::optional<int64_t>) const override {}

  void denoise(const DenoiseContext& context) override {
    QueueRank(context, options_.window_frames, options_.lookahead, options_.halves).run();
  }

 private:
  Options options_;
};

}  // namespace

StrategyEntry fifo_strategy() {
  auto entry = strategy_entry(
      "fifo", "a queue of latent frames, one at each noise level, in windows over the ranks (arXiv 2405.11473)",
      Options(), [](const Options& options) { return std::make_unique<Fifo>(options); });
  entry.streams_blocks = true;
  entry.prompts = PromptScope::kWindow;
  entry.repeats = Repeats::kIterations;
  return entry;
}

}  // namespace dualparal
