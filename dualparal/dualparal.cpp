// SPDX-License-Identifier: Apache-2.0
#include "dualparal/dualparal.h"

#include <deque>

#include "base/errors.h"
#include "dualparal/block_queue.h"
#include "dualparal/feature_cache.h"
#include "strategy/parallel/partition.h"
#include "strategy/parallel/pipeline_stage.h"

namespace dualparal {
namespace {

class DualParal final : public Strategy {
 public:
  explicit DualParal(const OptionValues& options)
      : block_frames_(std::stol(options.at("block-frames"))),
        context_{std::stol(options.at("context-frames")), options.at("feature-cache") == "on",
                 options.at("previous-context") != "synchronous", options.at("previous-context") == "matched_kv"},
        noise_sharing_(options.at("noise-sharing") == "on"),
        micro_batches_(std::stol(options.at("guidance-micro-batches"))) {
    check_usage(context_.context_frames <= block_frames_,
                "--context-frames: {} frames of the block before cannot be seen when a block has {} (--block-frames)",
                context_.context_frames, block_frames_);
  }

  TransformerParts parts(const TransformerConfig& config, const RankInfo& rank) const override {
    return partition(config, rank.world_size)[rank.rank];
  }

  at::Tensor initial_noise(const Request& request) const override {
    BlockNoise noise(request, block_frames_, context_.context_frames, noise_sharing_);
    std::vector<at::Tensor> parts;
    for (const Block& block : blocks(request)) parts.push_back(noise.next(block));
    return at::cat(parts, 2);
  }

  std::vector<int64_t> block_starts(const Request& request, int64_t) const override {
    std::vector<int64_t> starts;
    for (const Block& block : blocks(request))
      if (block.begin > 0) starts.push_back(block.begin);
    return starts;
  }

  AnalyticCost analytic_cost(const Request& request, const Workload& work, int64_t world_size) const override {
    const auto all = blocks(request);
    double hops = 0, back = 0, seen = 0;  // in tokens
    const auto count = static_cast<int64_t>(all.size());
    // With matched_kv, the last frames of as many blocks as the queue holds.
    const int64_t kept = context_.previous_cached ? context_.context_frames * std::min(count - 1, work.steps) : 0;
    for (const QueueEntry& entry : make_queue(count, work.steps)) {
      const Window window = window_of(all, entry, context_);
      hops += static_cast<double>(window.frames() * work.frame_tokens);
      back += static_cast<double>(window.own * work.frame_tokens);
      const int64_t cached = context_.feature_cache ? context_.context_frames : 0;
      seen = std::max(seen, static_cast<double>((window.frames() + cached + kept) * work.frame_tokens));
    }
    const double sent = work.hidden_bytes(hops) * static_cast<double>(world_size - 1) +
                        (world_size > 1 ? back * static_cast<double>(work.token_bytes) : 0);
    return {sent, work.weights_bytes((work.layers + world_size - 1) / world_size), 2 * work.hidden_bytes(seen)};
  }

  std::optional<SlotCount> slots(const Request& request, int64_t world_size) const override {
    const auto count = static_cast<int64_t>(blocks(request).size());
    std::vector<int64_t> needs;
    for (const QueueEntry& entry : make_queue(count, request.num_inference_steps))
      needs.push_back(needed_position(count, request.num_inference_steps, entry, context_.previous_updated()));
    return count_slots(needs, world_size, request.guided() ? micro_batches_ : 1);
  }

  std::vector<Link> links(const Request&, int64_t world_size) const override { return pipeline_links(world_size); }

  void denoise(const Request& request, const DenoiseContext& context, LatentsSink& sink) override {
    const Schedule schedule = make_schedule(request.sampler, request.scheduler, request.num_inference_steps);
    const std::vector<Block> all_blocks = blocks(request);
    const auto order = make_queue(static_cast<int64_t>(all_blocks.size()), schedule.steps());
    std::vector<StageJob> jobs;
    for (const QueueEntry& entry : order) {
      const Window window = window_of(all_blocks, entry, context_);
      jobs.push_back({entry.block, entry.age, window.frames(), window.previous, window.previous + window.own,
                      window.previous_cached});
    }
    PipelineStage stage(context, request, schedule, jobs, micro_batches_);
    BlockQueue queue(all_blocks, context_, schedule.steps(),
                     BlockNoise(request, block_frames_, context_.context_frames, noise_sharing_),
                     [&] { return make_sampler(request.sampler, request.scheduler, schedule); },
                     context.transformer.device());
    std::deque<FeatureCache> caches;  // by micro-batch
    for (int64_t m = 0; m < stage.micro_batches(); ++m) caches.emplace_back(context.transformer.rotary());

    const auto total = static_cast<int64_t>(order.size());
    int64_t applied = 0;
    const auto apply_until = [&](int64_t position) {
      for (; applied <= position; ++applied) {
        const at::Tensor prediction = stage.take_prediction();
        const auto span = context.recorder.compute({order[applied].block, order[applied].age, 0, -1, 0});
        queue.apply(order[applied], prediction, sink);
      }
    };
    for (int64_t position = 0; position < total; ++position) {
      const QueueEntry& entry = order[position];
      const bool tail = position == 0 || order[position - 1].iteration != entry.iteration;
      for (FeatureCache& cache : caches) {
        if (tail) cache.clear();
        begin_job(cache, stage, jobs[position], entry, entry.block + 1 == static_cast<int64_t>(all_blocks.size()));
      }
      at::Tensor window;
      if (stage.first()) {
        apply_until(needed_position(static_cast<int64_t>(all_blocks.size()), schedule.steps(), entry,
                                    context_.previous_updated()));
        window = queue.window(entry);
      }
      stage.run(window, [&](int64_t micro_batch) -> SelfAttention& { return caches[micro_batch]; });
      context.progress(position + 1, total);
    }
    if (stage.first()) apply_until(total - 1);
    stage.finish();
  }

 private:
  std::vector<Block> blocks(const Request& request) const {
    return make_blocks(request.latent_frames, block_frames_, context_.context_frames);
  }

  // Keys and values of the first frames are kept if the block before this one follows in the same iteration; with
  // matched_kv those of the last frames for the block behind, which sees them in the next iteration.
  void begin_job(FeatureCache& cache, const PipelineStage& stage, const StageJob& job, const QueueEntry& entry,
                 bool last_block) const {
    const bool followed = entry.block > 0 && entry.age + 1 < stage.steps();
    const int64_t kept = std::min(context_.context_frames, job.keep_end - job.keep_begin);
    FeatureCache::Job next{.grid = stage.grid(job), .block = entry.block, .first_position = job.first_position};
    if (context_.feature_cache && followed) next.head = {job.keep_begin, job.keep_begin + kept};
    if (context_.previous_cached && !last_block) next.tail = {job.keep_end - kept, job.keep_end};
    cache.begin_job(next);
  }

  int64_t block_frames_;
  ContextOptions context_;
  bool noise_sharing_;
  int64_t micro_batches_;
};

}  // namespace

StrategyEntry dualparal_strategy() {
  return {.name = "dualparal",
          .description = "blocks of frames at rising noise levels flow through a pipeline of ranks (arXiv 2505.21070)",
          .options = {{"block-frames", "latent frames of a block", "8", {}, 1},
                      {"context-frames", "latent frames seen of the block before, and of the block behind", "4", {}, 0},
                      {"feature-cache", "block behind: cached keys and values (on), or recomputed (off)", "on", {"on", "off"}},
                      {"noise-sharing", "initial noise of all blocks from one pool", "on", {"on", "off"}},
                      {"previous-context", "block before: latents one update ahead, at the same noise level, or cached keys and "
                       "values at the same noise level", "synchronous", {"synchronous", "matched", "matched_kv"}},
                      {"guidance-micro-batches", "conditional and unconditional halves as 1 batch or 2 micro-batches",
                       "1", {"1", "2"}}},
          .make = [](const OptionValues& options) { return std::make_unique<DualParal>(options); },
          .streams_blocks = true};
}

}  // namespace dualparal
