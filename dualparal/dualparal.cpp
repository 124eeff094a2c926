// SPDX-License-Identifier: Apache-2.0
#include "dualparal/dualparal.h"

#include <algorithm>
#include <deque>

#include "base/errors.h"
#include "dualparal/block_queue.h"
#include "dualparal/dualparal_options.h"
#include "dualparal/feature_cache.h"
#include "dualparal/list_denoisers.h"
#include "dualparal/queue_snapshots.h"
#include "strategy/parallel/pipeline_stage.h"
#include "strategy/parallel/pipeline_traffic.h"

namespace dualparal {
namespace {

using Options = DualParalOptions;

class DualParal final : public Strategy {
 public:
  explicit DualParal(const Options& options)
      : options_(options),
        context_{.context_frames = options.context_frames,
                 .feature_cache = options.feature_cache,
                 .previous = options.previous,
                 .position = options.position,
                 .boundary = options.boundary} {
    check_usage(options.context_frames <= options.block_frames,
                "--context-frames: {} frames of the block before cannot be seen when a block has {} (--block-frames)",
                options.context_frames, options.block_frames);
    options.groups.check_halves(options.halves);
    check_usage(options.cache_memory != CacheMemory::kHost || context_.previous_cached(),
                "--cache-memory host is for what --previous-context matched_kv keeps: other caches are used at once");
  }

  StrategyPlan plan(const Workload& work) const override {
    const auto all = blocks(work.latent_frames, work.videos);
    const ContextOptions context = context_of(work.features_change_at);
    const auto count = static_cast<int64_t>(all.size());
    check_usage(
        context_.position != WindowPosition::kAbsolute || work.latent_frames <= work.config.rope_max_seq_len,
        "--window-position absolute: {} latent frames need positions past the model's rope_max_seq_len = {}; use local",
        work.latent_frames, work.config.rope_max_seq_len);
    // With matched_kv, the last frames of as many blocks as the queue holds; none of a video's last block.
    const bool on_device = context_.previous_cached() && options_.cache_memory != CacheMemory::kHost;
    const int64_t kept = on_device ? context_.context_frames * std::min(count - work.videos, work.steps) : 0;
    const auto order = make_queue(count, work.steps);
    int64_t seen = 0;  // in frames
    std::vector<StageJob> jobs;
    std::vector<int64_t> needs, cached;
    for (const QueueEntry entry : order) {
      const Window window = window_of(all, entry, context);
      jobs.push_back(job_of(all, entry, context));
      // What the block behind has left, once there is one in the queue.
      const bool followed = all.has_successor(entry.block) && entry.age > 0 && context.sees_features(entry.age);
      const int64_t behind = followed ? std::min(context.context_frames, all[entry.block + 1].frames()) : 0;
      cached.push_back(behind + window.previous_cached);
      seen = std::max(seen, window.frames() + behind + kept);
      needs.push_back(needed_position(count, work.steps, entry, waits_for_previous(all, entry)));
    }
    const StageGrid grid = options_.groups.grid(work.world_size, work.guided());
    const auto stages = options_.partition.stages(work, grid.stages, typical_window(work, jobs, cached));
    StrategyPlan plan{.parts = grid.by_rank(stages),
                      .key_value_tokens = static_cast<double>(seen * work.frame_tokens) *
                                          share_at_a_time(options_.halves, work.guided()) *
                                          grid.share_of_keys(work.config.num_attention_heads),
                      .traffic = pipeline_traffic(work, grid, stages, jobs),
                      .slots = count_slots(needs, grid.stages, micro_batches(options_.halves, work.guided()))};
    for (int64_t i = 0; all.has_successor(i); ++i) plan.block_starts.push_back(all[i + 1].begin);
    return plan;
  }

  at::Tensor initial_noise(const Request& request) const override {
    BlockNoise noise = block_noise(request);
    std::vector<at::Tensor> parts;
    for (const Block block : blocks(request.latent_frames)) parts.push_back(noise.next(block));
    return at::cat(parts, 2);
  }

  void check_snapshots(const Workload&, std::optional<int64_t>) const override {}

  void prepare(const DenoiseContext& context) override {
    slots_.reset();  // before others are taken
    slots_ = make_slots(context);
    prepared_ = true;
  }

  void denoise(const DenoiseContext& context) override {
    const StageGrid grid = options_.groups.grid(context.comm.world_size(), context.request.guided());
    ListDenoisers denoisers(context, grid.halves_of(context.comm.rank(), options_.halves));
    const Denoiser& denoiser = denoisers.common();
    const Blocks all = blocks(context.request.latent_frames, denoisers.videos());
    const ContextOptions sees = context_of(second_expert_from(context.request, denoiser.schedule()));
    const auto count = static_cast<int64_t>(all.size());
    const auto order = make_queue(count, denoiser.steps());
    QueueSnapshots snapshots(context, order, part_of_cache(context, denoiser, grid));
    const int64_t first = snapshots.first();
    PipelineStage stage(
        denoiser, context.comm, context.recorder, grid,
        {order.size() - static_cast<size_t>(first), [&](size_t job) { return job_of(all, order[first + job], sees); }},
        context.receive_ahead);
    BlockQueue queue(
        all, sees, denoiser.steps(), [&](int64_t video) { return block_noise(denoisers.request(video)); },
        [&] { return denoiser.make_sampler(); }, denoiser.device());
    if (!prepared_) slots_ = make_slots(context);
    HostCopies copies(context.recorder, denoiser.device());
    std::optional<HostTails> host;
    if (slots_)
      host.emplace(*slots_, copies, denoiser.micro_batches(), attending(denoiser.transformer().parts().layers),
                   std::min(context.request.latent_frames, most_seen()) * denoiser.grid(1).frame_tokens());
    std::deque<FeatureCache> caches;  // by micro-batch
    for (int64_t m = 0; m < denoiser.micro_batches(); ++m)
      caches.emplace_back(denoiser.transformer().rotary(), host ? &*host : nullptr, m);
    snapshots.restore(stage.first() ? &queue : nullptr, caches, denoiser);

    const auto total = static_cast<int64_t>(order.size());
    NullSink none;  // of other ranks that take the sampler's steps, too
    LatentsSink& sink = context.comm.rank() == 0 ? context.sink : none;
    const PipelineStage::Apply apply = [&](int64_t job, const at::Tensor& prediction) {
      queue.apply(order[first + job], prediction, sink);
      snapshots.applied(first + job, queue);
    };
    for (int64_t position = first; position < total; ++position) {
      const QueueEntry entry = order[position];
      const bool tail = position == 0 || order[position - 1].iteration != entry.iteration;
      if (tail && snapshots.stops_before(entry.iteration)) break;
      if (tail) stage.allow(static_cast<size_t>(snapshots.certain_at(entry.iteration) - first));
      for (FeatureCache& cache : caches) {
        if (tail) cache.clear();
        cache.begin_job(cache_job(denoiser, sees, position, order, all));
      }
      const Block& block = all[entry.block];
      if (tail) denoisers.drop_before(all[oldest_block(entry.iteration, denoiser.steps())].video);
      const Denoiser& of_video = denoisers.of(block.video);
      at::Tensor window;
      if (stage.first()) {
        stage.apply_until(needed_position(count, denoiser.steps(), entry, waits_for_previous(all, entry)) - first,
                          apply);
        if (denoisers.videos() > 1 && block.begins_video() && entry.age == 0) context.recorder.begin_video();
        window = queue.window(entry);
      }
      stage.run(
          window, [&](int64_t micro_batch) -> SelfAttention& { return caches[micro_batch]; }, of_video);
      const int64_t final = final_position(order, position, denoiser.steps(), grid.stages);
      if (final >= first) stage.apply_until(final - first, apply);
      snapshots.ran(position, caches);
      context.progress(position + 1, total);
    }
    stage.apply_until(snapshots.end() - first - 1, apply);
    stage.finish();
    snapshots.finish();
  }

 private:
  Blocks blocks(int64_t latent_frames, int64_t videos = 1) const {
    return make_blocks(latent_frames, options_.block_frames, options_.context_frames, videos);
  }

  bool waits_for_previous(const Blocks& all, const QueueEntry& entry) const {
    return context_.previous_updated() && !all[entry.block].begins_video();
  }

  BlockNoise block_noise(const Request& request) const {
    return {request, options_.block_frames, options_.context_frames, options_.noise_sharing};
  }

  ContextOptions context_of(int64_t features_change_at) const {
    ContextOptions context = context_;
    context.features_change_at = features_change_at;
    return context;
  }

  static StageJob job_of(const Blocks& all, const QueueEntry& entry, const ContextOptions& sees) {
    const Window window = window_of(all, entry, sees);
    return {entry.block,
            entry.age,
            window.frames(),
            window.previous,
            window.previous + window.own,
            position_offset(all, entry, sees) + window.previous_cached,
            all[entry.block].begin - window.previous};
  }

  // Keys and values of the first frames are kept if the block before this one follows in the same iteration; with
  // matched_kv those of the last frames for the block behind, which sees them in the next iteration.
  FeatureCache::Job cache_job(const Denoiser& denoiser, const ContextOptions& sees, int64_t position,
                              const QueueOrder& order, const Blocks& all) const {
    const QueueEntry entry = order[position];
    const StageJob job = job_of(all, entry, sees);
    const bool followed =
        !all[entry.block].begins_video() && entry.age + 1 < denoiser.steps() && sees.sees_features(entry.age + 1);
    const int64_t kept = std::min(context_.context_frames, job.keep_end - job.keep_begin);
    const int64_t offset = position_offset(all, entry, sees);
    FeatureCache::Job next{.grid = denoiser.grid(job.frames),
                           .block = entry.block,
                           .first_position = job.first_position - offset,
                           .offset = offset};
    if (followed) next.head = {job.keep_begin, job.keep_begin + kept};
    if (context_.previous_cached() && all.has_successor(entry.block)) next.tail = {job.keep_end - kept, job.keep_end};
    if (position + 1 < static_cast<int64_t>(order.size())) {
      const QueueEntry behind = order[position + 1];
      next.next_block = behind.block;
      next.next_sees_tail = window_of(all, behind, sees).previous_cached > 0;
    }
    return next;
  }

  // What this rank keeps of keys and values from one iteration to the next, if any is kept.
  std::optional<CachePart> part_of_cache(const DenoiseContext& context, const Denoiser& denoiser,
                                         const StageGrid& grid) const {
    if (!context_.previous_cached()) return std::nullopt;
    const StageGrid::Place place = grid.place(context.comm.rank());
    const int64_t halves = (context.request.guided() ? 2 : 1) / denoiser.micro_batches() / grid.halves;
    const auto heads = even_ranges(context.transformer[0].config().num_attention_heads, grid.sequence);
    return CachePart{{place.half * halves, (place.half + 1) * halves}, heads[place.index], grid.sequence > 1};
  }

  // Latent frames that any window of a long video sees at most, cached ones among them.
  int64_t most_seen() const { return options_.block_frames + 2 * options_.context_frames; }

  // Room in host memory for what this rank keeps from one iteration to the next; none: it is on the device.
  std::unique_ptr<HostSlots> make_slots(const DenoiseContext& context) const {
    if (!context_.previous_cached() || context_.context_frames == 0) return nullptr;
    const Request& request = context.request;
    const Transformer& model = context.transformer[0];
    const StageGrid grid = options_.groups.grid(context.comm.world_size(), request.guided());
    const Workload work = workload(request, model.config(), static_cast<int64_t>(c10::elementSize(model.dtype())),
                                   context.comm.world_size());
    const int64_t videos = 1 + static_cast<int64_t>(context.following.size());
    const auto count = static_cast<int64_t>(blocks(request.latent_frames, videos).size());
    const int64_t heads =
        even_ranges(model.config().num_attention_heads, grid.sequence)[grid.place(context.comm.rank()).index].size();
    const int64_t turns = micro_batches(grid.halves_of(context.comm.rank(), options_.halves), request.guided());
    const TailsKept tails{.count = std::min(count - videos, work.steps) * turns *
                                   static_cast<int64_t>(attending(model.parts().layers).size()),
                          .shape = {work.batch / turns / grid.halves, context_.context_frames * work.frame_tokens,
                                    heads, model.config().attention_head_dim},
                          .dtype = model.dtype()};
    return in_host_memory(options_.cache_memory, tails, working_bytes(work, most_seen() * work.frame_tokens),
                          model.device())
               ? std::make_unique<HostSlots>(tails.count, tails.shape, tails.dtype, model.device())
               : nullptr;
  }

  Options options_;
  ContextOptions context_;
  std::unique_ptr<HostSlots> slots_;  // null: caches are on the device
  bool prepared_ = false;
};

}  // namespace

StrategyEntry dualparal_strategy() {
  auto entry = strategy_entry(
      "dualparal", "blocks of frames at rising noise levels flow through a pipeline of ranks (arXiv 2505.21070)",
      Options(), [](const Options& options) { return std::make_unique<DualParal>(options); });
  entry.streams_blocks = true;
  entry.prompts = PromptScope::kBlock;
  entry.queues_videos = true;
  entry.repeats = Repeats::kQueue;
  return entry;
}

}  // namespace dualparal
