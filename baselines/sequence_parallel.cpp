// SPDX-License-Identifier: Apache-2.0
#include "baselines/sequence_parallel.h"

#include <numeric>

#include "base/errors.h"
#include "base/measure/nvtx.h"
#include "baselines/sequence_attention.h"
#include "strategy/denoise/denoiser.h"
#include "strategy/snapshot/step_snapshots.h"

namespace dualparal {
namespace {

enum class Method { kRing, kUlysses, kUsp };

struct Options {
  Method method;
  bool guidance_parallel = false;
  GuidanceHalves halves = GuidanceHalves::kBatched;  // without guidance_parallel
  int64_t ulysses_degree = 0, ring_degree = 0;       // 0: whatever is left

  void declare(OptionSet& set) {
    if (method == Method::kUsp) {
      set.number("ulysses-degree", ulysses_degree,
                 "ranks of a Ulysses group; 0: what is left, or as many as divide heads and ranks");
      set.number("ring-degree", ring_degree, "groups around the ring; 0: what is left");
    }
    set.toggle("guidance-parallel", guidance_parallel,
               "one half of the ranks for the conditional prediction, the other for the unconditional one");
    declare_micro_batches(set, halves);
  }
};

class SequenceParallel final : public Strategy {
 public:
  explicit SequenceParallel(const Options& options) : options_(options) {
    check_usage(!options.guidance_parallel || options.halves == GuidanceHalves::kBatched,
                "--guidance-micro-batches 2: with --guidance-parallel on, a rank has one half only");
  }

  StrategyPlan plan(const Workload& work) const override {
    check_usage(!options_.guidance_parallel || work.world_size % 2 == 0,
                "--guidance-parallel on: two halves of {} ranks cannot be had; use an even number (--nproc)",
                work.world_size);
    const bool halves = options_.guidance_parallel && work.guided();
    const int64_t groups = halves ? 2 : 1, ranks = work.world_size / groups;
    const SequenceGroup group = group_of(work.config, 0, work.world_size, halves);
    const auto tokens = static_cast<double>(work.tokens), all = static_cast<double>(work.world_size);
    const auto layers = static_cast<double>(work.steps * work.config.num_layers);
    const double hidden = layers * work.hidden_bytes(tokens);  // of all groups: together they hold the whole batch
    StrategyPlan plan{.parts = whole_model(work),
                      .key_value_tokens = (group.ring_degree > 1 ? 2 : 1) * tokens / all *
                                          share_at_a_time(options_.halves, work.guided())};  // of the next hop, too
    for (int64_t rank = 0; rank < work.world_size; ++rank) {
      const SequenceGroup own = group_of(work.config, rank, work.world_size, halves);
      const double gathered =
          static_cast<double>(work.steps) * work.prediction_bytes(tokens / static_cast<double>(ranks));
      for (const int64_t other : own.ranks)
        if (other != rank) plan.traffic.push_back({{rank, other}, gathered});
      for (const int64_t other : own.ulysses_ranks())
        if (other != rank)
          plan.traffic.push_back({{rank, other}, 4 * hidden / (all * static_cast<double>(own.ulysses_degree))});
      if (own.ring_degree > 1)
        plan.traffic.push_back({{rank, own.ring_ranks()[(own.ring_index() + 1) % own.ring_degree]},
                                2 * hidden * static_cast<double>(own.ring_degree - 1) / all});
      if (halves)
        plan.traffic.push_back({{rank, (rank + ranks) % work.world_size},
                                static_cast<double>(work.steps * work.patch_channels * work.element_bytes) * tokens /
                                    static_cast<double>(ranks)});
    }
    return plan;
  }

  void check_snapshots(const Workload&, std::optional<int64_t>) const override {}

  void denoise(const DenoiseContext& context) override {
    const bool halves = options_.guidance_parallel && context.request.guided();
    const SequenceGroup group =
        group_of(context.transformer.config(), context.comm.rank(), context.comm.world_size(), halves);
    const int64_t half = context.comm.rank() / static_cast<int64_t>(group.ranks.size());
    const Denoiser denoiser(context.request, context.transformer,
                            !halves     ? options_.halves
                            : half == 0 ? GuidanceHalves::kConditional
                                        : GuidanceHalves::kUnconditional);
    const int64_t frames = context.request.latent_frames, tokens = denoiser.grid(frames).tokens();
    const auto held = even_ranges(tokens, static_cast<int64_t>(group.ranks.size()));
    check(held.back().size() > 0, "{} tokens cannot be split over {} ranks", tokens, held.size());
    const auto sampler = denoiser.make_sampler();
    at::Tensor latents = denoiser.noise({0, frames});
    StepSnapshots snapshots(context.snapshots, {{0, frames}, context.comm.rank()}, denoiser.steps());
    snapshots.restore(latents, *sampler);
    Pass pass = denoiser.pass({0, frames}, 0, held[group.own]);
    Exchange exchange(context.comm, context.recorder);
    SequenceAttention attention(exchange, group, held);
    for (int64_t step = snapshots.first(); step < denoiser.steps(); ++step) {
      const NvtxRange range("step {}", step);
      const WorkLabel label{0, step, 0, context.transformer.config().num_layers - 1};
      pass.time = denoiser.time(step);
      const auto span = context.recorder.compute(label);
      exchange.begin(label);
      std::vector<at::Tensor> predictions;  // of the guidance halves that are computed here
      for (int64_t m = 0; m < denoiser.micro_batches(); ++m) {
        at::Tensor hidden = denoiser.embed(pass, latents);
        denoiser.layers(pass, hidden, attention, m);
        predictions.push_back(denoiser.project(pass, hidden));
      }
      at::Tensor patches = predictions.size() == 1 ? predictions[0] : at::cat(predictions);
      exchange.begin(label);
      if (halves) patches = exchange_halves(exchange, patches, half);
      const at::Tensor prediction = gather_tokens(exchange, group, denoiser.guide(pass, patches), held);
      latents = sampler->step(denoiser.unpatchify(pass, prediction), latents);
      context.progress(step + 1, denoiser.steps());
      snapshots.after(step + 1, latents, *sampler);
    }
    if (context.comm.rank() == 0) context.sink.push(latents);
  }

 private:
  // Ulysses and ring degree over `ranks` ranks.
  std::pair<int64_t, int64_t> degrees(int64_t heads, int64_t ranks) const {
    if (options_.method == Method::kRing) return {1, ranks};
    if (options_.method == Method::kUlysses) return {ranks, 1};
    int64_t ulysses = options_.ulysses_degree, ring = options_.ring_degree;
    if (ulysses == 0 && ring == 0)  // heads that divide, and as few ring hops as they allow
      ulysses = std::gcd(ranks, heads);
    if (ulysses == 0 && ranks % ring == 0) ulysses = ranks / ring;
    if (ring == 0 && ranks % ulysses == 0) ring = ranks / ulysses;
    check_usage(ulysses * ring == ranks, "--ulysses-degree {} x --ring-degree {} must make the {} ranks{}",
                options_.ulysses_degree, options_.ring_degree, ranks,
                options_.guidance_parallel ? " of each half" : "");
    return {ulysses, ring};
  }

  // The ranks that share a sequence with `rank`.
  SequenceGroup group_of(const TransformerConfig& config, int64_t rank, int64_t world_size, bool halves) const {
    SequenceGroup group;
    const int64_t size = halves ? world_size / 2 : world_size;
    std::tie(group.ulysses_degree, group.ring_degree) = degrees(config.num_attention_heads, size);
    group.own = rank % size;
    for (int64_t i = 0; i < size; ++i) group.ranks.push_back(rank - group.own + i);
    return group;
  }

  // Conditional and unconditional predictions of the same tokens, from the rank at the same place of the other half.
  static at::Tensor exchange_halves(Exchange& exchange, const at::Tensor& patches, int64_t half) {
    const NvtxRange range("guidance exchange");
    const int64_t partner = (exchange.rank() + exchange.world_size() / 2) % exchange.world_size();
    auto incoming = exchange.receive(patches.sizes(), patches.options(), partner);
    exchange.send(patches, partner);
    const at::Tensor other = incoming.take();
    exchange.finish_sends();
    return half == 0 ? at::cat({patches, other}) : at::cat({other, patches});
  }

  // Every rank's tokens, on every rank of the group.
  static at::Tensor gather_tokens(Exchange& exchange, const SequenceGroup& group, const at::Tensor& own,
                                  const std::vector<Range>& held) {
    const NvtxRange range("gather the prediction");
    std::vector<std::vector<int64_t>> shapes;
    for (const Range& tokens : held) shapes.push_back({own.size(0), tokens.size(), own.size(2)});
    return at::cat(all_to_all(exchange, group.ranks, group.own, std::vector<at::Tensor>(held.size(), own), shapes), 1);
  }

  Options options_;
};

StrategyEntry entry(Method method, const char* name, const char* description) {
  auto row = strategy_entry(name, description, Options{.method = method},
                            [](const Options& options) { return std::make_unique<SequenceParallel>(options); });
  row.exact = row.whole_sequence = true;
  row.repeats = Repeats::kSteps;
  return row;
}

}  // namespace

StrategyEntry ring_strategy() {
  return entry(Method::kRing, "ring", "tokens split over the ranks; keys and values travel a ring (arXiv 2310.01889)");
}

StrategyEntry ulysses_strategy() {
  return entry(Method::kUlysses, "ulysses",
               "tokens split over the ranks; heads instead while attending (DeepSpeed-Ulysses, arXiv 2309.14509)");
}

StrategyEntry usp_strategy() {
  return entry(Method::kUsp, "usp", "Ulysses within groups of ranks, a ring across them (arXiv 2405.07719)");
}

}  // namespace dualparal
