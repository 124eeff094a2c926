// SPDX-License-Identifier: Apache-2.0
#include "baselines/sequence_parallel.h"

#include <numeric>

#include "base/errors.h"
#include "base/nvtx.h"
#include "baselines/sequence_attention.h"
#include "strategy/denoise/guidance.h"
#include "strategy/denoise/noise.h"

namespace dualparal {
namespace {

enum class Method { kRing, kUlysses, kUsp };

OptionSpec guidance_option() {
  return {"guidance-parallel", "one half of the ranks for the conditional prediction, the other for the unconditional one",
          "off", {"on", "off"}};
}

// The tokens of a rank as frames to embed and a range of those frames' tokens.
struct OwnTokens {
  Share frames;
  Share within;
};

OwnTokens own_tokens(const Share& tokens, const TokenGrid& grid) {
  const int64_t per_frame = grid.frame_tokens();
  const Share frames{tokens.begin / per_frame, (tokens.end + per_frame - 1) / per_frame};
  return {frames, {tokens.begin - frames.begin * per_frame, tokens.end - frames.begin * per_frame}};
}

class SequenceParallel final : public Strategy {
 public:
  SequenceParallel(Method method, const OptionValues& options)
      : method_(method), guidance_parallel_(options.at("guidance-parallel") == "on") {
    if (method_ != Method::kUsp) return;
    ulysses_ = std::stol(options.at("ulysses-degree"));
    ring_ = std::stol(options.at("ring-degree"));
  }

  TransformerParts parts(const TransformerConfig& config, const RankInfo& rank) const override {
    check_usage(!guidance_parallel_ || rank.world_size % 2 == 0,
                "--guidance-parallel on: two halves of {} ranks cannot be had; use an even number (--nproc)",
                rank.world_size);
    degrees(config.num_attention_heads, guidance_parallel_ ? rank.world_size / 2 : rank.world_size);
    return {{0, config.num_layers}, true, true};
  }

  AnalyticCost analytic_cost(const Request& request, const Workload& work, int64_t world_size) const override {
    const bool halves = guidance_parallel_ && request.guided();
    const int64_t groups = halves ? 2 : 1, ranks = world_size / groups;
    const auto [ulysses, ring] = degrees(work.heads, ranks);
    const auto tokens = static_cast<double>(work.tokens);
    // Of all groups: together they hold the whole batch.
    const double hidden = work.hidden_bytes(tokens);
    const double around = 2 * hidden * static_cast<double>(ring - 1);
    const double across = 4 * hidden * (1 - 1 / static_cast<double>(ulysses));
    const double exchanged = halves ? 2 * tokens * static_cast<double>(work.patch_channels * work.element_bytes) : 0;
    const double shared = static_cast<double>(groups * (ranks - 1)) * tokens * static_cast<double>(work.token_bytes);
    const double held = 2 * hidden / static_cast<double>(groups * ranks);  // keys and values; of the next hop, too
    return {static_cast<double>(work.steps) * (static_cast<double>(work.layers) * (around + across) + exchanged + shared),
            work.weights_bytes(work.layers), ring > 1 ? 2 * held : held};
  }

  std::vector<Link> links(const Request&, int64_t world_size) const override { return all_links(world_size); }

  void denoise(const Request& request, const DenoiseContext& context, LatentsSink& sink) override {
    const Transformer& model = context.transformer;
    const Schedule schedule = make_schedule(request.sampler, request.scheduler, request.num_inference_steps);
    const auto sampler = make_sampler(request.sampler, request.scheduler, schedule);
    at::Tensor latents = frame_noise(request, 0, request.latent_frames).to(model.device());
    const TokenGrid grid = model.grid(latents.sizes());

    const bool halves = guidance_parallel_ && request.guided();
    const SequenceGroup group = make_group(model.config(), context.comm, halves);
    const auto shares = even_shares(grid.tokens(), static_cast<int64_t>(group.ranks.size()));
    check(shares.back().size() > 0, "{} tokens cannot be split over {} ranks", grid.tokens(), shares.size());
    const OwnTokens own = own_tokens(shares[group.own], grid);
    const RotaryTable rotary =
        model.rotary().table(grid, 0, model.device()).cut(shares[group.own].begin, shares[group.own].end);
    const int64_t half = context.comm.rank() / static_cast<int64_t>(group.ranks.size());
    at::Tensor prompts = guidance_batch(request);
    if (halves) prompts = prompts.slice(0, half, half + 1);
    const TextContext text = model.text_context(prompts);

    Exchange exchange(context.comm, context.recorder);
    SequenceAttention attention(exchange, group, shares);
    for (int64_t step = 0; step < schedule.steps(); ++step) {
      const NvtxRange range("step {}", step);
      const WorkLabel label{0, step, 0, model.config().num_layers - 1, 0};
      const auto time = model.time_conditioning(at::scalar_tensor(schedule.timesteps[step]).view({1}));
      const auto span = context.recorder.compute(label);
      exchange.begin(label);
      const at::Tensor frames = latents.slice(2, own.frames.begin * model.config().patch_size[0],
                                              own.frames.end * model.config().patch_size[0]);
      at::Tensor hidden = model.embed(frames).slice(1, own.within.begin, own.within.end);
      hidden = prompts.size(0) > 1 ? hidden.repeat({prompts.size(0), 1, 1}) : hidden.contiguous();
      model.forward_layers(model.parts().layers, hidden, time, text, rotary, attention);
      at::Tensor patches = model.project(hidden, time);
      exchange.begin(label);
      if (halves) patches = exchange_halves(exchange, patches, half, static_cast<int64_t>(group.ranks.size()));
      const at::Tensor prediction = share_prediction(exchange, group, apply_guidance(request, patches), shares);
      latents = sampler->step(model.unpatchify(prediction, grid), latents);
      context.progress(step + 1, schedule.steps());
    }
    if (context.comm.rank() == 0) sink.push(latents);
  }

 private:
  // Ulysses and ring degree over `ranks` ranks.
  std::pair<int64_t, int64_t> degrees(int64_t heads, int64_t ranks) const {
    if (method_ == Method::kRing) return {1, ranks};
    if (method_ == Method::kUlysses) return {ranks, 1};
    int64_t ulysses = ulysses_, ring = ring_;
    if (ulysses == 0 && ring == 0)  // heads that divide, and as few ring hops as they allow
      ulysses = std::gcd(ranks, heads);
    if (ulysses == 0 && ranks % ring == 0) ulysses = ranks / ring;
    if (ring == 0 && ranks % ulysses == 0) ring = ranks / ulysses;
    check_usage(ulysses * ring == ranks,
                "--ulysses-degree {} x --ring-degree {} must make the {} ranks{}", ulysses_, ring_, ranks,
                guidance_parallel_ ? " of each half" : "");
    return {ulysses, ring};
  }

  SequenceGroup make_group(const TransformerConfig& config, const Communicator& comm, bool halves) const {
    SequenceGroup group;
    const int64_t size = halves ? comm.world_size() / 2 : comm.world_size();
    std::tie(group.ulysses_degree, group.ring_degree) = degrees(config.num_attention_heads, size);
    group.own = comm.rank() % size;
    const int64_t first = comm.rank() - group.own;
    for (int64_t i = 0; i < size; ++i) group.ranks.push_back(first + i);
    return group;
  }

  // Conditional and unconditional predictions of the same tokens, from the rank at the same place of the other half.
  static at::Tensor exchange_halves(Exchange& exchange, const at::Tensor& patches, int64_t half, int64_t half_size) {
    const NvtxRange range("guidance exchange");
    const int64_t rank = exchange.rank();
    const int64_t partner = half == 0 ? rank + half_size : rank - half_size;
    auto incoming = exchange.receive(patches.sizes(), patches.options(), partner);
    exchange.send(patches, partner);
    const at::Tensor other = incoming.take();
    exchange.finish_sends();
    return half == 0 ? at::cat({patches, other}) : at::cat({other, patches});
  }

  // Every rank's tokens, on every rank of the group.
  static at::Tensor share_prediction(Exchange& exchange, const SequenceGroup& group, const at::Tensor& own,
                                     const std::vector<Share>& shares) {
    const NvtxRange range("gather the prediction");
    std::vector<std::vector<int64_t>> shapes;
    for (const Share& share : shares) shapes.push_back({own.size(0), share.size(), own.size(2)});
    return at::cat(all_to_all(exchange, group.ranks, group.own, std::vector<at::Tensor>(shares.size(), own), shapes), 1);
  }

  Method method_;
  bool guidance_parallel_;
  int64_t ulysses_ = 0, ring_ = 0;  // 0: whatever is left
};

StrategyEntry entry(Method method, const char* name, const char* description, std::vector<OptionSpec> options) {
  options.push_back(guidance_option());
  return {.name = name, .description = description, .options = std::move(options),
          .make = [method](const OptionValues& values) { return std::make_unique<SequenceParallel>(method, values); }};
}

}  // namespace

StrategyEntry ring_strategy() {
  return entry(Method::kRing, "ring", "tokens split over the ranks; keys and values travel a ring (arXiv 2310.01889)", {});
}

StrategyEntry ulysses_strategy() {
  return entry(Method::kUlysses, "ulysses",
               "tokens split over the ranks; heads instead while attending (DeepSpeed-Ulysses, arXiv 2309.14509)", {});
}

StrategyEntry usp_strategy() {
  return entry(Method::kUsp, "usp", "Ulysses within groups of ranks, a ring across them (arXiv 2405.07719)",
               {{"ulysses-degree", "ranks of a Ulysses group; 0: what is left, or as many as divide heads and ranks", "0", {}, 0},
                {"ring-degree", "groups around the ring; 0: what is left", "0", {}, 0}});
}

}  // namespace dualparal
