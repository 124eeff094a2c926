// SPDX-License-Identifier: Apache-2.0
// Which frames a frame sees, against the definition written down apart; attention over them against a score mask; and
// whole-sequence strategies with it.
#include "strategy/denoise/lvsa.h"

#include "baselines/single.h"
#include "harness/options/strategies.h"
#include "model/ops/ops.h"
#include "model/ops/sparse_attention.h"
#include "strategy/denoise/guidance.h"
#include "strategy/parallel/ranges.h"
#include "tests/ranks.h"
#include "tests/traced.h"

namespace dualparal::testing {
namespace {

// [frames, frames] of booleans: row f sees column g.
at::Tensor frame_mask(int64_t frames, int64_t window, int64_t every, int64_t step) {
  at::Tensor mask = at::zeros({frames, frames}, at::kBool);
  for (int64_t f = 0; f < frames; ++f) {
    int64_t low = f - window, high = f + window;
    while (low < 0) ++low, ++high;
    while (high >= frames) --low, --high;
    for (int64_t g = 0; g < frames; ++g) {
      bool global = g == 0;
      for (int64_t i = 0; i * every < frames; ++i) global = global || g == (step % every + i * every) % frames;
      if (global || (std::max<int64_t>(low, 0) <= g && g <= high)) mask[f][g] = true;
    }
  }
  return mask;
}

// Self-attention with everything that is not seen masked out.
struct MaskedAttention final : SelfAttention {
  int64_t frames, window, every, step = 0;
  MaskedAttention(int64_t all, const Lvsa& options)
      : frames(all), window(options.window), every(options.global_every) {}
  at::Tensor attend(const AttentionInput& input) override {
    at::Tensor query = input.query.clone(), key = input.key.clone();
    norm_rotary(query, input.query_norm, input.rotary, query);
    norm_rotary(key, input.key_norm, input.rotary, key);
    const int64_t per_frame = query.size(1) / frames;
    const at::Tensor mask =
        frame_mask(frames, window, every, step).repeat_interleave(per_frame, 0).repeat_interleave(per_frame, 1);
    at::Tensor scores = at::einsum("bqhd,bkhd->bhqk", {query, key}) / std::sqrt(double(query.size(-1)));
    scores.masked_fill_(mask.logical_not(), -INFINITY);
    return at::einsum("bhqk,bkhd->bqhd", {at::softmax(scores, -1), input.value});
  }
};

Request sparse_request(int64_t frames, const Lvsa& options, int64_t steps = 3, double guidance = 3.0) {
  Request request = ranks_request(frames, steps, guidance);
  request.sparse_attention = options;
  return request;
}

// Denoising as `single` does it, every step with its mask.
at::Tensor plain(const Request& request, const TransformerConfig& config) {
  const c10::InferenceMode inference;
  LargeWeights weights;
  const Transformer model(config, weights, {{0, config.num_layers}, true, true});
  const Schedule schedule = make_schedule(request.sampler, request.scheduler, request.num_inference_steps);
  const auto sampler = make_sampler(request.sampler, request.scheduler, schedule);
  const TextContext text = model.text_context(guidance_batch(request));
  at::Tensor latents = frame_noise(request, 0, request.latent_frames);
  const TokenGrid grid = model.grid(latents.sizes());
  MaskedAttention attention(request.latent_frames, *request.sparse_attention);
  for (; attention.step < schedule.steps(); ++attention.step) {
    const auto time = model.time_conditioning(at::scalar_tensor(schedule.timesteps[attention.step]).view({1}));
    at::Tensor hidden = model.embed(duplicate_for_guidance(request, latents));
    model.forward_layers(model.parts().layers, hidden, time, text, model.rotary().table(grid, 0, at::kCPU), attention);
    latents = sampler->step(apply_guidance(request, model.head(hidden, time, grid)), latents);
  }
  return latents;
}

TransformerConfig with_heads(int64_t heads) {
  auto config = with_layers(3);
  config.num_attention_heads = heads;
  config.attention_head_dim = 8;
  return config;
}

struct Case {
  int64_t frames, window, every;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.frames << " frames, window " << c.window << ", every " << c.every;
}
const Case kCases[] = {{13, 1, 5}, {17, 2, 7}, {11, 0, 3}, {19, 3, 19}, {9, 3, 4}, {23, 2, 40}};

Lvsa options_of(const Case& c) { return {c.window, c.every}; }

BOOST_AUTO_TEST_SUITE(strategy_lvsa)

BOOST_DATA_TEST_CASE(frames_seen_are_those_of_the_definition, data::make(kCases) * data::xrange(9), one, step) {
  const at::Tensor mask = frame_mask(one.frames, one.window, one.every, step);
  const auto seen = lvsa_frames(one.frames, options_of(one), step);
  at::Tensor ours = at::zeros_like(mask);
  for (int64_t f = 0; f < one.frames; ++f)
    for (const int64_t g : seen[f]) ours[f][g] = true;
  BOOST_TEST(ours.equal(mask));
  BOOST_TEST(FrameSight(seen, 6).pairs() == mask.sum().item<int64_t>());
}

BOOST_AUTO_TEST_CASE(the_grid_of_global_frames_moves_on_and_keeps_its_size) {
  std::set<int64_t> ever;
  for (int64_t step = 0; step < 7; ++step) {
    const auto seen = lvsa_frames(20, {0, 7}, step);
    for (const int64_t frame : seen[10])
      if (frame != 10) ever.insert(frame);
  }
  BOOST_TEST(ever.size() == 19u);  // in as many steps as frames between two, every frame has been one
  // 6, 13 and, round the end of 16 frames, 20
  BOOST_TEST(lvsa_frames(16, {0, 7}, 6)[10] == (std::vector<int64_t>{0, 4, 6, 10, 13}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_distance_follows_from_the_length_trained_on) {
  BOOST_TEST(lvsa_global_every(21, 3, 21) == 1);  // all see all
  BOOST_TEST(lvsa_global_every(257, 3, 21) == 19);
  BOOST_TEST(lvsa_global_every(121, 3, 21) == 9);
  for (const int64_t frames : {22, 50, 121, 257, 1000})
    for (const auto& seen : lvsa_frames(frames, {3, lvsa_global_every(frames, 3, 21)}, 5))
      BOOST_TEST(seen.size() <= 22u);
}

BOOST_AUTO_TEST_CASE(frames_out_of_order_or_blind_to_themselves_are_refused) {
  expect_error({"frame 1 of 2", "[0]"}, [] { FrameSight({{0, 1}, {0}}, 4); });
  expect_error({"frame 0 of 2", "[1, 0]"}, [] { FrameSight({{1, 0}, {0, 1}}, 4); });
  expect_error({"frame 0 of 2", "[0, 2]"}, [] { FrameSight({{0, 2}, {0, 1}}, 4); });
}

// Keys in one piece or in many, cut within frames; queries too.
BOOST_DATA_TEST_CASE(attention_equals_a_score_mask, data::make(kCases) * data::make({1, 2, 3, 5, 8}), one, parts) {
  constexpr int64_t kFrameTokens = 5;
  const int64_t tokens = one.frames * kFrameTokens;
  const at::Tensor query = randn({2, tokens, 3, 20}, 1), key = randn({2, tokens, 3, 20}, 2),
                   value = randn({2, tokens, 3, 20}, 3);
  const at::Tensor mask = frame_mask(one.frames, one.window, one.every, 2)
                              .repeat_interleave(kFrameTokens, 0)
                              .repeat_interleave(kFrameTokens, 1);
  const at::Tensor scores = at::einsum("bqhd,bkhd->bhqk", {query, key}) / std::sqrt(20.0);
  const at::Tensor expected =
      at::einsum("bhqk,bkhd->bqhd", {at::softmax(scores.masked_fill(mask.logical_not(), -INFINITY), -1), value});
  const FrameSight sight(lvsa_frames(one.frames, options_of(one), 2), kFrameTokens);
  if (parts == 1) BOOST_TEST(relative_error(sparse_attention(query, key, value, sight), expected) < 1e-5);
  for (const Range& own : even_ranges(tokens, parts)) {
    PartialSparseAttention attention(sight, {own.begin, own.end});
    for (const Range& keys : even_ranges(tokens, parts))
      attention.add(query.slice(1, own.begin, own.end), key.slice(1, keys.begin, keys.end),
                    value.slice(1, keys.begin, keys.end), {keys.begin, keys.end});
    BOOST_TEST(relative_error(attention.result(), expected.slice(1, own.begin, own.end)) < 1e-5);
  }
}

BOOST_AUTO_TEST_CASE(no_more_is_gathered_than_there_is) {
  const FrameSight sight(lvsa_frames(40, {2, 9}, 4), 5);
  int64_t keys = 0, queries = 0;
  for (const FrameSight::Batch& batch : sight.batches({0, 200}, {0, 200})) {
    int64_t gathered = 0;
    for (const auto& piece : batch.pieces)
      for (const TokenSpan& span : piece) gathered += span.size();
    BOOST_TEST(gathered <= 200);
    keys += gathered;
    queries += batch.queries.size();
  }
  BOOST_TEST(keys == sight.pairs() * 5);
  BOOST_TEST(queries == 200);
}

BOOST_DATA_TEST_CASE(single_equals_masked_attention, data::make(kCases), one) {
  const Request request = sparse_request(one.frames, options_of(one));
  const at::Tensor actual = denoise_on_ranks(single_strategy(), {}, request, 1, with_layers(3));
  BOOST_TEST(relative_error(actual, plain(request, with_layers(3))) < 1e-4);
}

BOOST_DATA_TEST_CASE(a_short_video_is_dense_bit_by_bit, data::make({Case{7, 3, 5}, Case{9, 1, 1}, Case{1, 0, 4}}),
                     one) {
  const Request request = sparse_request(one.frames, options_of(one));
  const at::Tensor dense = denoise_on_ranks(single_strategy(), {}, ranks_request(one.frames, 3), 1, with_layers(3));
  BOOST_TEST(identical(denoise_on_ranks(single_strategy(), {}, request, 1, with_layers(3)), dense));
}

BOOST_AUTO_TEST_CASE(a_long_video_is_another_than_with_dense_attention) {
  const at::Tensor dense = denoise_on_ranks(single_strategy(), {}, ranks_request(13, 3), 1, with_layers(3));
  const at::Tensor sparse = denoise_on_ranks(single_strategy(), {}, sparse_request(13, {1, 5}), 1, with_layers(3));
  BOOST_TEST(relative_error(sparse, dense) > 1e-3);
}

std::vector<std::string> whole_sequence_strategies() {
  std::vector<std::string> names;
  for (const auto& entry : strategies())
    if (entry.whole_sequence && entry.name != "single") names.push_back(entry.name);
  return names;
}

// 13 frames of 6 tokens divide by none of these, 6 heads by neither 4, 5 nor 8.
BOOST_DATA_TEST_CASE(every_strategy_gives_what_single_gives,
                     data::make(whole_sequence_strategies()) * data::make({1, 2, 3, 4, 5, 8}) * data::make({4, 6}),
                     name, ranks, heads) {
  auto config = with_heads(heads);
  config.num_layers = 8;
  const Request request = sparse_request(13, {1, 5}, 2);
  const at::Tensor expected = denoise_on_ranks(single_strategy(), {}, request, 1, config);
  BOOST_TEST(relative_error(denoise_on_ranks(find_strategy(name), {}, request, ranks, config), expected) < 1e-5);
}

BOOST_DATA_TEST_CASE(in_bf16_too, data::make(whole_sequence_strategies()), name) {
  const Request request = sparse_request(13, {1, 5}, 2);
  const auto run = [&](const StrategyEntry& entry, int64_t ranks) {
    return denoise_on_ranks(entry, {}, request, ranks, with_heads(4), at::kBFloat16);
  };
  BOOST_TEST(relative_error(run(find_strategy(name), 3), run(single_strategy(), 1)) < 5e-2);
}

// Traced FLOPs: what dense attention costs, less what is not seen.
BOOST_DATA_TEST_CASE(only_what_is_seen_is_computed, data::make(whole_sequence_strategies()) * data::make({1, 3}), name,
                     ranks) {
  const TransformerConfig config = with_heads(6);
  const Request request = sparse_request(29, {2, 8}, 4);
  double pairs = 0;
  for (int64_t step = 0; step < 4; ++step) pairs += frame_mask(29, 2, 8, step).sum().item<double>();
  const auto attention = [&](const Request& what) {
    double flops = 0;
    for (const RankTrace& trace : trace_ranks(find_strategy(name), {}, what, ranks, config))
      flops += trace.summed().work.attention_flops;
    return flops;
  };
  const double per_pair = 4.0 * 2 * 6 * 6 * static_cast<double>(config.dim() * config.num_layers);
  const double text = attention(ranks_request(29, 4)) - per_pair * 4 * 29 * 29;  // cross-attention
  BOOST_TEST(text > 0);
  BOOST_TEST(attention(request) - text == per_pair * pairs, boost::test_tools::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(policies_get_the_whole_video) {
  expect_error({"sparse attention", "6 queries", "expected all 12"}, [] {
    const FrameSight sight({{0}, {0, 1}}, 6);
    const at::Tensor x = randn({1, 6, 2, 8}, 1);
    sparse_attention(x, x, x, sight);
  });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
