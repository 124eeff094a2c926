// SPDX-License-Identifier: Apache-2.0
#include "baselines/video_infinity.h"

#include <algorithm>

#include "base/errors.h"
#include "base/nvtx.h"
#include "model/ops/attention.h"
#include "model/ops/ops.h"
#include "strategy/denoise/guidance.h"
#include "strategy/denoise/noise.h"
#include "strategy/parallel/exchange.h"
#include "strategy/parallel/shares.h"

namespace dualparal {
namespace {

// Frames that a clip's self-attention sees besides its own.
struct Sight {
  std::vector<int64_t> local;   // of the neighbours
  std::vector<int64_t> global;  // of the whole video, without those it sees already
};

Sight sight_of(const Share& clip, int64_t frames, int64_t context_frames, int64_t global_frames) {
  const Share window{std::max<int64_t>(0, clip.begin - context_frames), std::min(frames, clip.end + context_frames)};
  Sight sight;
  for (int64_t frame = window.begin; frame < window.end; ++frame)
    if (frame < clip.begin || frame >= clip.end) sight.local.push_back(frame);
  const int64_t count = std::min(global_frames, frames);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t frame = i * frames / count;
    if (frame < window.begin || frame >= window.end) sight.global.push_back(frame);
  }
  return sight;
}

// Added to the scores of local and global keys.
struct Bias {
  double local = 0, global = 0;
};

class DualScopeAttention final : public SelfAttention {
 public:
  DualScopeAttention(Exchange& exchange, std::vector<Share> clips, std::vector<Sight> sights, int64_t own,
                     int64_t frame_tokens)
      : exchange_(exchange), clips_(std::move(clips)), sights_(std::move(sights)), own_(own), frame_tokens_(frame_tokens) {}

  void set_bias(const Bias& bias) { bias_ = bias; }

  at::Tensor attend(const AttentionInput& input) override {
    WorkLabel label = exchange_.label();
    label.first_layer = label.last_layer = input.layer;
    exchange_.begin(label);
    at::Tensor query = input.query, key = input.key;
    apply_rotary_(query, input.rotary);
    apply_rotary_(key, input.rotary);
    const auto ranks = static_cast<int64_t>(clips_.size());

    struct Arriving {
      Exchange::Incoming message;
      int64_t local_tokens;
    };
    std::vector<Arriving> arriving;
    for (int64_t from = 0; from < ranks; ++from) {
      if (from == own_) continue;
      const auto local = within(sights_[own_].local, clips_[from]), global = within(sights_[own_].global, clips_[from]);
      const auto count = static_cast<int64_t>(local.size() + global.size()) * frame_tokens_;
      if (count == 0) continue;
      arriving.push_back({exchange_.receive({2, key.size(0), count, key.size(2), key.size(3)}, key.options(), from),
                          static_cast<int64_t>(local.size()) * frame_tokens_});
    }
    for (int64_t to = 0; to < ranks; ++to) {
      if (to == own_) continue;
      auto frames = within(sights_[to].local, clips_[own_]);
      const auto global = within(sights_[to].global, clips_[own_]);
      frames.insert(frames.end(), global.begin(), global.end());
      if (!frames.empty()) exchange_.send(at::stack({tokens_of(key, frames), tokens_of(input.value, frames)}), to);
    }

    PartialAttention attention;
    attention.add(query, key, input.value, bias_.local);
    std::vector<at::Tensor> local, global;
    for (Arriving& one : arriving) {
      const at::Tensor pair = one.message.take();
      local.push_back(pair.slice(2, 0, one.local_tokens));
      global.push_back(pair.slice(2, one.local_tokens));
    }
    for (const auto& [parts, bias] : {std::pair(&local, bias_.local), std::pair(&global, bias_.global)}) {
      if (parts->empty()) continue;
      const at::Tensor pair = at::cat(*parts, 2);
      attention.add(query, pair[0], pair[1], bias);
    }
    exchange_.finish_sends();
    return attention.result();
  }

 private:
  static std::vector<int64_t> within(const std::vector<int64_t>& frames, const Share& clip) {
    std::vector<int64_t> out;
    for (const int64_t frame : frames)
      if (frame >= clip.begin && frame < clip.end) out.push_back(frame);
    return out;
  }

  // [batch, tokens of the clip, heads, head_dim] -> those of some of its frames
  at::Tensor tokens_of(const at::Tensor& x, const std::vector<int64_t>& frames) const {
    std::vector<at::Tensor> parts;
    for (const int64_t frame : frames) {
      const int64_t first = (frame - clips_[own_].begin) * frame_tokens_;
      parts.push_back(x.slice(1, first, first + frame_tokens_));
    }
    return at::cat(parts, 1);
  }

  Exchange& exchange_;
  std::vector<Share> clips_;
  std::vector<Sight> sights_;
  int64_t own_, frame_tokens_;
  Bias bias_;
};

class VideoInfinity final : public Strategy {
 public:
  explicit VideoInfinity(const OptionValues& options)
      : context_frames_(std::stol(options.at("context-frames"))),
        global_frames_(std::stol(options.at("global-frames"))),
        phase_timestep_(std::stol(options.at("phase-timestep"))),
        phase_bias_(std::stol(options.at("phase-bias"))) {}

  TransformerParts parts(const TransformerConfig& config, const RankInfo&) const override {
    check_usage(config.patch_size[0] == 1, "video_infinity needs a model whose patches are one latent frame long, not {}",
                config.patch_size[0]);
    return {{0, config.num_layers}, true, true};
  }

  std::vector<int64_t> block_starts(const Request& request, int64_t world_size) const override {
    std::vector<int64_t> starts;
    for (const Share& clip : even_shares(request.latent_frames, world_size))
      if (clip.begin > 0) starts.push_back(clip.begin);
    return starts;
  }

  AnalyticCost analytic_cost(const Request& request, const Workload& work, int64_t world_size) const override {
    double outside = 0, most = 0;  // frames seen of other clips: by all, and by the clip that sees most frames
    for (const Share& clip : even_shares(request.latent_frames, world_size)) {
      const Sight sight = sight_of(clip, request.latent_frames, context_frames_, global_frames_);
      const auto seen = static_cast<double>(sight.local.size() + sight.global.size());
      outside += seen;
      most = std::max(most, seen + static_cast<double>(clip.size()));
    }
    const auto frame = static_cast<double>(work.frame_tokens);
    const auto others = static_cast<double>(request.latent_frames - even_shares(request.latent_frames, world_size)[0].size());
    return {static_cast<double>(work.steps * work.layers) * 2 * work.hidden_bytes(outside * frame) +
                others * frame * static_cast<double>(work.token_bytes),
            work.weights_bytes(work.layers), 2 * work.hidden_bytes(most * frame)};
  }

  std::vector<Link> links(const Request&, int64_t world_size) const override { return all_links(world_size); }

  void denoise(const Request& request, const DenoiseContext& context, LatentsSink& sink) override {
    const Transformer& model = context.transformer;
    const int64_t rank = context.comm.rank(), ranks = context.comm.world_size();
    check(request.latent_frames >= ranks, "video_infinity: {} latent frames cannot be {} clips", request.latent_frames,
          ranks);
    const auto clips = even_shares(request.latent_frames, ranks);
    std::vector<Sight> sights;
    for (const Share& clip : clips)
      sights.push_back(sight_of(clip, request.latent_frames, context_frames_, global_frames_));

    const Schedule schedule = make_schedule(request.sampler, request.scheduler, request.num_inference_steps);
    const auto sampler = make_sampler(request.sampler, request.scheduler, schedule);
    const TextContext text = model.text_context(guidance_batch(request));
    at::Tensor latents = frame_noise(request, clips[rank].begin, clips[rank].end).to(model.device());
    const TokenGrid grid = model.grid(latents.sizes());
    const RotaryTable rotary = model.rotary().table(grid, clips[rank].begin, model.device());
    Exchange exchange(context.comm, context.recorder);
    DualScopeAttention attention(exchange, clips, sights, rank, grid.frame_tokens());

    for (int64_t step = 0; step < schedule.steps(); ++step) {
      const NvtxRange range("step {}", step);
      const WorkLabel label{rank, step, 0, model.config().num_layers - 1, 0};
      const double timestep = schedule.timesteps[step];
      const auto bias = static_cast<double>(phase_bias_);
      attention.set_bias(timestep >= static_cast<double>(phase_timestep_) ? Bias{0, bias} : Bias{bias, 0});
      exchange.begin(label);
      const auto time = model.time_conditioning(at::scalar_tensor(timestep).view({1}));
      const auto span = context.recorder.compute(label);
      at::Tensor hidden = model.embed(duplicate_for_guidance(request, latents));
      model.forward_layers(model.parts().layers, hidden, time, text, rotary, attention);
      latents = sampler->step(apply_guidance(request, model.head(hidden, time, grid)), latents);
      context.progress(step + 1, schedule.steps());
    }

    exchange.begin({rank, schedule.steps() - 1, 0, -1, 0});
    if (rank > 0) {
      exchange.send(latents, 0);
      exchange.finish_sends();
      return;
    }
    sink.push(latents);
    for (int64_t from = 1; from < ranks; ++from) {
      auto shape = latents.sizes().vec();
      shape[2] = clips[from].size();
      sink.push(exchange.receive(shape, latents.options(), from).take());
    }
  }

 private:
  int64_t context_frames_, global_frames_, phase_timestep_, phase_bias_;
};

}  // namespace

StrategyEntry video_infinity_strategy() {
  return {.name = "video_infinity",
          .description = "a clip for every rank; attention sees frames of the neighbours and of the whole video "
                         "(arXiv 2406.16260)",
          .options = {{"context-frames", "latent frames seen of either neighbouring clip", "8", {}, 0},
                      {"global-frames", "latent frames seen of the whole video, evenly spaced", "16", {}, 0},
                      {"phase-timestep", "from this timestep (0..1000) on down, local context is favoured; before, global",
                       "800", {}, 0},
                      {"phase-bias", "added to the scores of the context that is favoured; 0: none is", "0", {}, 0}},
          .make = [](const OptionValues& options) { return std::make_unique<VideoInfinity>(options); }};
}

}  // namespace dualparal
