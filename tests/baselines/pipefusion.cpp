// SPDX-License-Identifier: Apache-2.0
// PipeFusion against a plain loop over patches on one model, which keeps every layer's keys and values of the sequence.
#include "baselines/pipefusion.h"

#include <numeric>

#include "baselines/patch_cache.h"
#include "baselines/single.h"
#include "model/ops/ops.h"
#include "strategy/denoise/guidance.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

const TransformerConfig kConfig = with_layers(5);
constexpr int64_t kSteps = 5;

OptionValues options_of(int64_t patches, int64_t synchronous, const char* micro_batches = "1") {
  return {{"patches", std::to_string(patches)},
          {"synchronous-steps", std::to_string(synchronous)},
          {"guidance-micro-batches", micro_batches}};
}

at::Tensor run(const OptionValues& options, int64_t frames, int64_t ranks, uint64_t delays = 0) {
  return denoise_on_ranks(pipefusion_strategy(), options, ranks_request(frames, kSteps), ranks, kConfig, at::kFloat,
                          delays);
}

// By layer and frame, what the frame's tokens had as keys and values when they last went through.
struct LatestOfEveryFrame final : SelfAttention {
  std::map<std::pair<int64_t, int64_t>, at::Tensor> keys, values;
  int64_t frame_tokens = 0, all = 0;  // all: frames of the video
  int64_t first = 0;                  // frame of those that go through

  at::Tensor attend(const AttentionInput& input) override {
    at::Tensor query = input.query.clone(), key = input.key.clone();
    norm_rotary(query, input.query_norm, input.rotary, query);
    norm_rotary(key, input.key_norm, input.rotary, key);
    for (int64_t i = 0; i < key.size(1) / frame_tokens; ++i) {
      keys[{input.layer, first + i}] = key.slice(1, i * frame_tokens, (i + 1) * frame_tokens);
      values[{input.layer, first + i}] = input.value.slice(1, i * frame_tokens, (i + 1) * frame_tokens).clone();
    }
    std::vector<at::Tensor> all_keys, all_values;
    for (int64_t frame = 0; frame < all; ++frame) {
      all_keys.push_back(keys.at({input.layer, frame}));
      all_values.push_back(values.at({input.layer, frame}));
    }
    const at::Tensor scores = at::einsum("bqhd,bkhd->bhqk", {query, at::cat(all_keys, 1)});
    return at::einsum("bhqk,bkhd->bqhd",
                      {at::softmax(scores / std::sqrt(double(query.size(-1))), -1), at::cat(all_values, 1)});
  }
};

// sizes: latent frames of every patch.
at::Tensor plain(const std::vector<int64_t>& sizes, int64_t synchronous) {
  const c10::InferenceMode inference;
  LargeWeights weights;
  const Transformer model(kConfig, weights, {{0, kConfig.num_layers}, true, true});
  const int64_t frames = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  const Request request = ranks_request(frames, kSteps);
  const Schedule schedule = make_schedule(request.sampler, request.scheduler, kSteps);
  const TextContext text = model.text_context(guidance_batch(request));
  const auto sampler = make_sampler(request.sampler, request.scheduler, schedule);
  at::Tensor latents = frame_noise(request, 0, frames);
  LatestOfEveryFrame attention;
  attention.frame_tokens = model.grid(latents.sizes()).frame_tokens();
  attention.all = frames;
  for (int64_t step = 0; step < kSteps; ++step) {
    std::vector<at::Tensor> predictions;
    const std::vector<int64_t> parts = step < synchronous ? std::vector<int64_t>{frames} : sizes;
    attention.first = 0;
    for (const int64_t size : parts) {
      const at::Tensor patch = latents.slice(2, attention.first, attention.first + size);
      const TokenGrid grid = model.grid(patch.sizes());
      const auto time = model.time_conditioning(at::full({1}, schedule.timesteps[step]));
      at::Tensor hidden = model.embed(duplicate_for_guidance(request, patch));
      model.forward_layers(model.parts().layers, hidden, time, text,
                           model.rotary().table(grid, attention.first, at::kCPU), attention);
      predictions.push_back(apply_guidance(request, model.head(hidden, time, grid)));
      attention.first += size;
    }
    latents = sampler->step(at::cat(predictions, 2), latents);
  }
  return latents;
}

BOOST_AUTO_TEST_SUITE(pipefusion)

BOOST_DATA_TEST_CASE(all_steps_synchronous_is_single, data::make({1, 2, 3, 4}) * data::make({"1", "2"}), ranks, micro) {
  const at::Tensor expected = denoise_on_ranks(single_strategy(), {}, ranks_request(7, kSteps), 1, kConfig);
  for (const int64_t synchronous : {kSteps, kSteps + 3})
    BOOST_TEST(relative_error(run(options_of(3, synchronous, micro), 7, ranks), expected) < 1e-5);
}

BOOST_DATA_TEST_CASE(one_patch_is_single, data::make({1, 3}), ranks) {
  const at::Tensor expected = denoise_on_ranks(single_strategy(), {}, ranks_request(7, kSteps), 1, kConfig);
  BOOST_TEST(relative_error(run(options_of(1, 1), 7, ranks), expected) < 1e-5);
}

struct Case {
  std::vector<int64_t> sizes;
  int64_t synchronous;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << fmt::format("patches of {} frames, {} synchronous", fmt::join(c.sizes, ", "), c.synchronous);
}
const Case kCases[] = {{{3, 2, 2}, 1}, {{3, 2, 2}, 3}, {{2, 2, 1, 1, 1}, 2}, {{1, 1, 1, 1, 1, 1}, 1}, {{2, 2}, 4}};

BOOST_DATA_TEST_CASE(equals_a_plain_loop_as_stale, data::make(kCases) * data::make({1, 2, 3, 4}), one, ranks) {
  const int64_t frames = std::accumulate(one.sizes.begin(), one.sizes.end(), int64_t{0});
  const OptionValues options = options_of(static_cast<int64_t>(one.sizes.size()), one.synchronous);
  BOOST_TEST(relative_error(run(options, frames, ranks), plain(one.sizes, one.synchronous)) < 1e-5);
}

BOOST_DATA_TEST_CASE(same_latents_on_any_number_of_ranks, data::make({2, 3, 4, 5}) * data::make({2, 3, 16}), ranks,
                     patches) {
  BOOST_TEST(identical(run(options_of(patches, 1), 7, ranks), run(options_of(patches, 1), 7, 1)));
}

BOOST_DATA_TEST_CASE(micro_batches_change_nothing, data::make({1, 3}), ranks) {
  BOOST_TEST(relative_error(run(options_of(3, 1, "2"), 7, ranks), run(options_of(3, 1), 7, 1)) < 1e-5);
}

BOOST_DATA_TEST_CASE(timing_changes_nothing, data::make({1, 2}), seed) {
  BOOST_TEST(identical(run(options_of(3, 1), 7, 3, seed), run(options_of(3, 1), 7, 3)));
}

BOOST_AUTO_TEST_CASE(staleness_shows) {
  // Else the comparisons above would hold for a program that waits for every step.
  const at::Tensor exact = denoise_on_ranks(single_strategy(), {}, ranks_request(7, kSteps), 1, kConfig);
  const double most = relative_error(run(options_of(3, 1), 7, 1), exact);
  const double least = relative_error(run(options_of(3, kSteps - 1), 7, 1), exact);
  BOOST_TEST(most > 1e-3);
  BOOST_TEST(least > 1e-5);
}

BOOST_DATA_TEST_CASE(sends_what_the_formula_says, data::make({1, 2, 4}) * data::make({"1", "2"}), ranks, micro) {
  const Request request = ranks_request(7, kSteps);
  int64_t sent = 0;
  denoise_on_ranks(pipefusion_strategy(), options_of(3, 2, micro), request, ranks, kConfig, at::kFloat, 0, &sent);
  BOOST_TEST(static_cast<double>(sent) ==
             cost_of(pipefusion_strategy(), options_of(3, 2, micro), request, ranks, kConfig).sent_bytes);
}

BOOST_AUTO_TEST_CASE(a_patch_before_the_sequence_is_refused) {
  const at::Tensor x = randn({1, 4, 2, 8}, 1);
  const RotaryTable rotary = RotaryEmbedding(8, 16).table({1, 2, 2}, 0, at::kCPU);
  PatchCache cache(8);
  cache.begin_job({4, 8}, false);
  expect_error({"layer 3", "tokens 4..7"}, [&] { cache.attend({3, x.clone(), x.clone(), x, rotary}); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
