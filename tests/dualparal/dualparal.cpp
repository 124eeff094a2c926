// SPDX-License-Identifier: Apache-2.0
// DualParal against itself on other numbers of ranks, against `single`, and against a plain loop without queue, ranks
// or cache objects.
#include "dualparal/dualparal.h"

#include "baselines/single.h"
#include "comm/emulated_communicator.h"
#include "tests/dualparal/plain_loop.h"

namespace dualparal::testing {
namespace {

// Of models of two experts.
const Variant kExpertVariants[] = {
    {"on", "on", "synchronous", 2, 13},
    {"on", "on", "synchronous", 2, 13, "none"},
    {"on", "on", "synchronous", 2, 13, "mixed"},
    {"off", "on", "synchronous", 2, 13},
    {"on", "off", "matched_kv", 2, 13, "recompute"},
    {"on", "on", "matched", 3, 16, "recompute"},
};

// How many jobs its rank had computed when the first latents came.
class JobCountingSink final : public LatentsSink {
 public:
  explicit JobCountingSink(Recorder& recorder) : recorder_(recorder) {}
  void push(const at::Tensor&) override {
    if (jobs > 0) return;
    for (const Event& event : recorder_.events())
      jobs += event.kind == Event::Kind::kCompute && event.label.last_layer >= event.label.first_layer;
  }
  int64_t jobs = 0;

 private:
  Recorder& recorder_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(dualparal_strategy_on_ranks)

BOOST_DATA_TEST_CASE(same_latents_on_any_number_of_ranks, data::make(kVariants) * data::make({2, 3, 4, 8}), variant,
                     ranks) {
  const Request request = ranks_request(variant.frames);
  const at::Tensor alone = denoise_on_ranks(dualparal_strategy(), options_of(variant), request, 1, kConfig);
  const at::Tensor split = denoise_on_ranks(dualparal_strategy(), options_of(variant), request, ranks, kConfig);
  BOOST_TEST(alone.size(2) == variant.frames);
  BOOST_TEST(identical(split, alone));
}

BOOST_DATA_TEST_CASE(same_latents_of_two_experts, data::make(kExpertVariants) * data::make({2, 3, 4}), variant, ranks) {
  const Request request = experts_request(variant.frames);
  const at::Tensor alone = denoise_on_ranks(dualparal_strategy(), options_of(variant), request, 1, kConfig);
  BOOST_TEST(identical(denoise_on_ranks(dualparal_strategy(), options_of(variant), request, ranks, kConfig), alone));
}

// Stages that begin within layers: every kind of cache, and two experts.
BOOST_DATA_TEST_CASE(stages_within_layers_change_rounding_alone,
                     data::make(kVariants) * data::make({"balanced", "2:self:0.35,2:ffn,6:cross:0.5"}), variant,
                     partition) {
  auto options = options_of(variant);
  const Request request = ranks_request(variant.frames);
  const at::Tensor alone = denoise_on_ranks(dualparal_strategy(), options, request, 1, kConfig);
  options["partition"] = partition;
  BOOST_TEST(relative_error(denoise_on_ranks(dualparal_strategy(), options, request, 4, kConfig), alone) < 1e-5);
}

BOOST_DATA_TEST_CASE(two_experts_on_stages_within_layers, data::make(kExpertVariants), variant) {
  auto options = options_of(variant, "2");
  const Request request = experts_request(variant.frames);
  const at::Tensor alone = denoise_on_ranks(dualparal_strategy(), options, request, 1, kConfig);
  options["partition"] = "2:self:0.35,6:cross:0.5";
  BOOST_TEST(relative_error(denoise_on_ranks(dualparal_strategy(), options, request, 3, kConfig), alone) < 1e-5);
}

BOOST_DATA_TEST_CASE(equals_a_plain_loop, data::make(kVariants), variant) {
  const Request request = ranks_request(variant.frames);
  const auto entry = dualparal_strategy();
  const at::Tensor noise =
      entry.make(resolve_options("dualparal", entry.options, options_of(variant)))->initial_noise(request);
  const at::Tensor actual = denoise_on_ranks(entry, options_of(variant), request, 1, kConfig);
  BOOST_TEST(relative_error(actual, plain_loop(request, variant, noise)) < 1e-4);
}

// A prompt that begins within a block is the next one's; one that no block begins with is not seen.
BOOST_DATA_TEST_CASE(several_prompts_equal_a_plain_loop, data::make(kVariants) * data::make({1, 3}), variant, ranks) {
  const Request request = prompts_request(variant.frames, {2, 6, 7, 8});
  const auto entry = dualparal_strategy();
  const at::Tensor noise =
      entry.make(resolve_options("dualparal", entry.options, options_of(variant)))->initial_noise(request);
  const at::Tensor actual = denoise_on_ranks(entry, options_of(variant), request, ranks, kConfig);
  BOOST_TEST(relative_error(actual, plain_loop(request, variant, noise)) < 1e-4);
}

// An image as the first frame, of one transformer and of two.
BOOST_DATA_TEST_CASE(a_first_frame_equals_a_plain_loop, data::make(kVariants) * data::make({1, 3}), variant, ranks) {
  for (Request request : {ranks_request(variant.frames), experts_request(variant.frames)}) {
    request.first_frame = randn({1, 16, 1, 4, 6}, 31);
    const auto entry = dualparal_strategy();
    const at::Tensor noise =
        entry.make(resolve_options("dualparal", entry.options, options_of(variant)))->initial_noise(request);
    const at::Tensor actual = denoise_on_ranks(entry, options_of(variant), request, ranks, kConfig);
    BOOST_TEST(relative_error(actual, plain_loop(request, variant, noise)) < 1e-4);
  }
}

// What an image says of each frame, side by side with the frame's latents; of one transformer and of two.
BOOST_DATA_TEST_CASE(conditions_equal_a_plain_loop, data::make(kVariants) * data::make({1, 3}), variant, ranks) {
  auto config = kConfig;
  config.in_channels += 20;
  for (Request request : {ranks_request(variant.frames), experts_request(variant.frames)}) {
    request.condition = randn({1, 20, variant.frames, 4, 6}, 77);
    const auto entry = dualparal_strategy();
    const at::Tensor noise =
        entry.make(resolve_options("dualparal", entry.options, options_of(variant)))->initial_noise(request);
    const at::Tensor actual = denoise_on_ranks(entry, options_of(variant), request, ranks, config);
    BOOST_TEST(relative_error(actual, plain_loop(request, variant, noise)) < 1e-4);
  }
}

BOOST_DATA_TEST_CASE(two_experts_equal_a_plain_loop, data::make(kExpertVariants) * data::make({1, 3}), variant, ranks) {
  const Request request = experts_request(variant.frames);
  const auto entry = dualparal_strategy();
  const at::Tensor noise =
      entry.make(resolve_options("dualparal", entry.options, options_of(variant)))->initial_noise(request);
  const at::Tensor actual = denoise_on_ranks(entry, options_of(variant), request, ranks, kConfig);
  BOOST_TEST(relative_error(actual, plain_loop(request, variant, noise)) < 1e-4);
}

BOOST_AUTO_TEST_CASE(what_is_seen_across_the_boundary_matters) {
  const Request request = experts_request(13);
  const auto run = [&](const char* boundary) {
    return denoise_on_ranks(dualparal_strategy(), options_of({"on", "on", "synchronous", 2, 13, boundary}), request, 1,
                            kConfig);
  };
  BOOST_TEST(relative_error(run("none"), run("recompute")) > 1e-4);
  BOOST_TEST(relative_error(run("mixed"), run("recompute")) > 1e-4);
}

BOOST_DATA_TEST_CASE(any_number_of_frames, data::make({81, 85, 301, 513, 1025}), frames) {
  const Request request = ranks_request((frames - 1 + 3) / 4 + 1, 2);
  const OptionValues options{{"block-frames", "8"}, {"context-frames", "4"}};
  const auto run = [&](int64_t ranks) {
    return denoise_on_ranks(dualparal_strategy(), options, request, ranks, with_layers(3));
  };
  const at::Tensor alone = run(1);
  BOOST_TEST(alone.size(2) == request.latent_frames);
  BOOST_TEST(identical(run(3), alone));
}

BOOST_DATA_TEST_CASE(micro_batches_change_nothing, data::make({1, 2, 3, 4, 8}), ranks) {
  const Request request = ranks_request(13);
  const at::Tensor whole = denoise_on_ranks(dualparal_strategy(), options_of(kVariants[0]), request, 1, kConfig);
  const at::Tensor halves =
      denoise_on_ranks(dualparal_strategy(), options_of(kVariants[0], "2"), request, ranks, kConfig);
  BOOST_TEST(relative_error(halves, whole) < 1e-5);
}

BOOST_DATA_TEST_CASE(delays_change_nothing, data::make({1, 2}), seed) {
  const Request request = ranks_request(13);
  const at::Tensor alone = denoise_on_ranks(dualparal_strategy(), options_of(kVariants[0]), request, 1, kConfig);
  const at::Tensor late =
      denoise_on_ranks(dualparal_strategy(), options_of(kVariants[0]), request, 3, kConfig, at::kFloat, seed);
  BOOST_TEST(identical(late, alone));
}

BOOST_DATA_TEST_CASE(bf16_agrees_on_ranks, data::make({2, 3, 4, 8}), ranks) {
  const Request request = ranks_request(13);
  const auto run = [&](int64_t ranks) {
    return denoise_on_ranks(dualparal_strategy(), options_of(kVariants[0]), request, ranks, kConfig, at::kBFloat16);
  };
  BOOST_TEST(relative_error(run(ranks), run(1)) < 2e-2);
}

BOOST_DATA_TEST_CASE(one_block_equals_single, data::make({1, 2, 3, 4, 8}), ranks) {
  Request request = ranks_request(4);
  request.initial_noise = randn({1, 16, 4, 4, 6}, 9);
  const at::Tensor expected = denoise_on_ranks(single_strategy(), {}, request, 1, kConfig);
  const at::Tensor actual =
      denoise_on_ranks(dualparal_strategy(), {{"block-frames", "4"}, {"context-frames", "2"}}, request, ranks, kConfig);
  BOOST_TEST(relative_error(actual, expected) < 1e-5);
}

BOOST_DATA_TEST_CASE(cached_previous_context_in_micro_batches, data::make({1, 3}), ranks) {
  const Variant variant{"on", "on", "matched_kv", 2, 13};
  const Request request = ranks_request(13);
  const at::Tensor whole = denoise_on_ranks(dualparal_strategy(), options_of(variant), request, 1, kConfig);
  const at::Tensor halves = denoise_on_ranks(dualparal_strategy(), options_of(variant, "2"), request, ranks, kConfig);
  BOOST_TEST(relative_error(halves, whole) < 1e-5);
}

BOOST_AUTO_TEST_CASE(cached_previous_context_is_another_variant) {
  // Else the comparisons above would hold for a program that does not know the difference.
  const Request request = ranks_request(13);
  const auto run = [&](const char* previous) {
    return denoise_on_ranks(dualparal_strategy(), options_of({"on", "on", previous, 2, 13}), request, 1, kConfig);
  };
  BOOST_TEST(relative_error(run("matched_kv"), run("matched")) > 1e-4);
}

BOOST_AUTO_TEST_CASE(context_longer_than_a_block_is_refused) {
  const auto entry = dualparal_strategy();
  expect_error<UsageError>({"--context-frames", "--block-frames"}, [&] {
    entry.make(resolve_options("dualparal", entry.options, {{"block-frames", "2"}, {"context-frames", "3"}}));
  });
}

// Not when a window of the iteration behind needs them, which may be many jobs later.
BOOST_AUTO_TEST_CASE(latents_are_handed_on_soon_after_their_last_step) {
  constexpr int64_t kRanks = 2, kSteps = 12;  // of 19 blocks, the queue holds 12
  const c10::InferenceMode inference;
  const Request request = ranks_request(40, kSteps);
  Recorder recorder(at::kCPU);
  const auto entry = dualparal_strategy();
  const auto options = resolve_options("dualparal", entry.options, {{"block-frames", "2"}, {"context-frames", "2"}});
  const auto strategy = entry.make(options);
  LargeWeights weights;
  const Transformer first(kConfig, weights, strategy->plan(workload(request, kConfig, 4, kRanks)).parts.at(0));
  JobCountingSink counting(recorder);
  strategy->denoise({request, first, *emulated_communicator(0, kRanks), recorder, counting});
  constexpr int64_t kJobs = kSteps * (kSteps + 1) / 2;  // the queue grows by a block in each iteration
  BOOST_TEST(counting.jobs == kJobs + 2 * kRanks);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal::testing
