// SPDX-License-Identifier: Apache-2.0
// Video-Infinity against `single` where every frame is seen, and against masked attention over the whole video.
#include "baselines/windows/video_infinity.h"

#include "baselines/single.h"
#include "model/ops/ops.h"
#include "strategy/denoise/guidance.h"
#include "strategy/parallel/ranges.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

const TransformerConfig kConfig = with_layers(2);

OptionValues options_of(int64_t context, int64_t global, int64_t bias = 0) {
  return {{"context-frames", std::to_string(context)},
          {"global-frames", std::to_string(global)},
          {"phase-bias", std::to_string(bias)}};
}

// Attention over the whole video with a number added to every score: [tokens, tokens], -inf for what is not seen.
struct MaskedAttention final : SelfAttention {
  at::Tensor mask;
  at::Tensor attend(const AttentionInput& input) override {
    at::Tensor query = input.query, key = input.key;
    norm_rotary(query, input.query_norm, input.rotary, query);
    norm_rotary(key, input.key_norm, input.rotary, key);
    const at::Tensor scores = at::matmul(query.transpose(1, 2), key.transpose(1, 2).transpose(2, 3)) /
                                  std::sqrt(static_cast<double>(query.size(3))) +
                              mask;
    return at::matmul(at::softmax(scores, -1), input.value.transpose(1, 2)).transpose(1, 2);
  }
};

// The same, clip by clip, with the frames that a clip sees numbered from 0 without gaps.
struct NumberedAttention final : SelfAttention {
  const Transformer& model;
  TokenGrid grid;
  std::vector<Range> clips;
  at::Tensor mask;  // [frames, frames]
  NumberedAttention(const Transformer& transformer, const TokenGrid& tokens, std::vector<Range> all, at::Tensor numbers)
      : model(transformer), grid(tokens), clips(std::move(all)), mask(std::move(numbers)) {}

  at::Tensor frames_of(const at::Tensor& x, const std::vector<int64_t>& frames) const {
    std::vector<at::Tensor> parts;
    for (const int64_t frame : frames)
      parts.push_back(x.slice(1, frame * grid.frame_tokens(), (frame + 1) * grid.frame_tokens()));
    return at::cat(parts, 1);
  }
  at::Tensor attend(const AttentionInput& input) override {
    std::vector<at::Tensor> results;
    for (const Range& clip : clips) {
      std::vector<int64_t> seen, own;
      int64_t before = 0;
      for (int64_t frame = 0; frame < grid.frames; ++frame) {
        if (std::isinf(mask[clip.begin][frame].item<double>())) continue;
        seen.push_back(frame);
        if (frame < clip.begin) ++before;
        if (frame >= clip.begin && frame < clip.end) own.push_back(frame);
      }
      at::Tensor query = frames_of(input.query, own), key = frames_of(input.key, seen);
      const auto count = static_cast<int64_t>(seen.size());
      const RotaryTable table = model.rotary().table({count, grid.height, grid.width}, 0, at::kCPU);
      norm_rotary(query, input.query_norm, table.cut(before * grid.frame_tokens(), (before + clip.size()) * grid.frame_tokens()), query);
      norm_rotary(key, input.key_norm, table, key);
      const at::Tensor numbers =
          mask[clip.begin].index_select(0, at::tensor(seen, at::kLong)).repeat_interleave(grid.frame_tokens(), 0);
      const at::Tensor scores =
          at::einsum("bqhd,bkhd->bhqk", {query, key}) / std::sqrt(static_cast<double>(query.size(3))) + numbers;
      results.push_back(at::einsum("bhqk,bkhd->bqhd", {at::softmax(scores, -1), frames_of(input.value, seen)}));
    }
    return at::cat(results, 1);
  }
};

// What each frame sees, frame by frame, as the paper describes it; then denoising as `single` does it.
at::Tensor plain(const Request& request, int64_t clips, int64_t context, int64_t global, double bias, double switch_at,
                 bool numbered = false) {
  const c10::InferenceMode inference;
  LargeWeights weights;
  const Transformer model(kConfig, weights, {{0, kConfig.num_layers}, true, true});
  const Schedule schedule = make_schedule(request.sampler, request.scheduler, request.num_inference_steps);
  const auto sampler = make_sampler(request.sampler, request.scheduler, schedule);
  const TextContext text = model.text_context(guidance_batch(request));
  at::Tensor latents = frame_noise(request, 0, request.latent_frames);
  const TokenGrid grid = model.grid(latents.sizes());
  const int64_t frames = request.latent_frames, per_frame = grid.frame_tokens();
  const auto shares = even_ranges(frames, clips);
  const double never = -std::numeric_limits<double>::infinity();
  for (int64_t step = 0; step < schedule.steps(); ++step) {
    const bool early = schedule.timesteps[step] >= switch_at;
    at::Tensor mask = at::full({frames, frames}, never);
    for (const Range& clip : shares)
      for (int64_t query = clip.begin; query < clip.end; ++query) {
        for (int64_t i = 0; i < std::min(global, frames); ++i)
          mask[query][i * frames / std::min(global, frames)] = early ? bias : 0.0;
        for (int64_t key = std::max<int64_t>(0, clip.begin - context); key < std::min(frames, clip.end + context);
             ++key)
          mask[query][key] = early ? 0.0 : bias;
      }
    NumberedAttention by_clip(model, grid, shares, mask);
    MaskedAttention whole;
    SelfAttention& attention = numbered ? static_cast<SelfAttention&>(by_clip) : whole;
    whole.mask = mask.repeat_interleave(per_frame, 0).repeat_interleave(per_frame, 1);
    const auto time = model.time_conditioning(at::scalar_tensor(schedule.timesteps[step]).view({1}));
    at::Tensor hidden = model.embed(duplicate_for_guidance(request, latents));
    model.forward_layers(model.parts().layers, hidden, time, text, model.rotary().table(grid, 0, at::kCPU), attention);
    latents = sampler->step(apply_guidance(request, model.head(hidden, time, grid)), latents);
  }
  return latents;
}

BOOST_AUTO_TEST_SUITE(video_infinity)

BOOST_DATA_TEST_CASE(seeing_everything_equals_single, data::make({1, 2, 3, 4}) * data::make({0, 7}), ranks, global) {
  const Request request = ranks_request(7, 3);
  const at::Tensor expected = denoise_on_ranks(single_strategy(), {}, request, 1, kConfig);
  BOOST_TEST(relative_error(denoise_on_ranks(video_infinity_strategy(), options_of(7, global), request, ranks, kConfig),
                            expected) < 1e-4);
  BOOST_TEST(relative_error(denoise_on_ranks(video_infinity_strategy(), options_of(0, 7), request, ranks, kConfig),
                            expected) < 1e-4);
}

BOOST_AUTO_TEST_CASE(one_rank_equals_single_whatever_the_options) {
  const Request request = ranks_request(7, 3);
  BOOST_TEST(relative_error(denoise_on_ranks(video_infinity_strategy(), options_of(1, 3, 2), request, 1, kConfig),
                            denoise_on_ranks(single_strategy(), {}, request, 1, kConfig)) < 1e-4);
}

BOOST_DATA_TEST_CASE(equals_masked_attention,
                     data::make({2, 3, 5}) * data::make({0, 1, 3}) * data::make({0, 4}) * data::make({0, 2}), ranks,
                     context, global, bias) {
  const Request request = ranks_request(11, 3);
  const at::Tensor expected = plain(request, ranks, context, global, bias, 800);
  const at::Tensor actual =
      denoise_on_ranks(video_infinity_strategy(), options_of(context, global, bias), request, ranks, kConfig);
  BOOST_TEST(relative_error(actual, expected) < 1e-4);
}

BOOST_DATA_TEST_CASE(positions_without_gaps_equal_masked_attention,
                     data::make({2, 3, 5}) * data::make({0, 1, 3}) * data::make({0, 4}) * data::make({0, 2}), ranks,
                     context, global, bias) {
  const Request request = ranks_request(11, 3);
  auto options = options_of(context, global, bias);
  const at::Tensor absolute = denoise_on_ranks(video_infinity_strategy(), options, request, ranks, kConfig);
  options["window-position"] = "absolute";
  BOOST_TEST(identical(denoise_on_ranks(video_infinity_strategy(), options, request, ranks, kConfig), absolute));
  options["window-position"] = "local";
  int64_t sent = 0;
  const at::Tensor local =
      denoise_on_ranks(video_infinity_strategy(), options, request, ranks, kConfig, at::kFloat, 0, &sent);
  BOOST_TEST(relative_error(local, plain(request, ranks, context, global, bias, 800, true)) < 1e-4);
  BOOST_TEST(
      static_cast<double>(sent) == cost_of(video_infinity_strategy(), options, request, ranks, kConfig).sent_bytes,
      boost::test_tools::tolerance(0.01));
  // Without frames from beyond the neighbours there are no gaps: a clip is counted from elsewhere, no more.
  if (global == 0) BOOST_TEST(relative_error(local, absolute) < 1e-4);
  if (global == 4 && context == 0 && ranks == 3) BOOST_TEST(relative_error(local, absolute) > 1e-4);
}

BOOST_DATA_TEST_CASE(sends_what_the_formula_says, data::make({2, 4, 8}), ranks) {
  const Request request = ranks_request(19, 1);
  const OptionValues options = options_of(2, 5);
  int64_t sent = 0;
  denoise_on_ranks(video_infinity_strategy(), options, request, ranks, kConfig, at::kFloat, 0, &sent);
  const AnalyticCost cost = cost_of(video_infinity_strategy(), options, request, ranks, kConfig);
  BOOST_TEST(static_cast<double>(sent) == cost.sent_bytes, boost::test_tools::tolerance(0.01));
}

BOOST_AUTO_TEST_CASE(more_clips_than_frames_are_refused) {
  expect_error<Error>({"2 latent frames", "3 clips"},
                      [] { denoise_on_ranks(video_infinity_strategy(), {}, ranks_request(2, 1), 3, kConfig); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
