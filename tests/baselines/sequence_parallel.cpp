// SPDX-License-Identifier: Apache-2.0
// Ring, Ulysses and USP against `single`, with sequences and heads that do not divide; and their cost formula.
#include "baselines/sequence_parallel.h"

#include "baselines/single.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

TransformerConfig with_heads(int64_t heads) {
  auto config = with_layers(2);
  config.num_attention_heads = heads;
  config.attention_head_dim = 8;
  return config;
}

at::Tensor alone(const Request& request, int64_t heads) {
  return denoise_on_ranks(single_strategy(), {}, request, 1, with_heads(heads));
}

// A frame has 6 tokens: 5 frames divide by neither 4 nor 8, 3 frames not by 5 either.
const auto kRanks = data::make({1, 2, 3, 4, 5, 8});
const auto kHeads = data::make({4, 6, 12});

BOOST_AUTO_TEST_SUITE(sequence_parallel)

BOOST_DATA_TEST_CASE(ring_equals_single, kRanks* kHeads, ranks, heads) {
  const Request request = ranks_request(3, 2);
  BOOST_TEST(relative_error(denoise_on_ranks(ring_strategy(), {}, request, ranks, with_heads(heads)),
                            alone(request, heads)) < 1e-4);
}

BOOST_DATA_TEST_CASE(ulysses_equals_single, kRanks* kHeads, ranks, heads) {
  const Request request = ranks_request(5, 2);
  BOOST_TEST(relative_error(denoise_on_ranks(ulysses_strategy(), {}, request, ranks, with_heads(heads)),
                            alone(request, heads)) < 1e-4);
}

const auto kRings = data::make({1, 2, 4, 8});

BOOST_DATA_TEST_CASE(usp_equals_single_for_any_factors, kRings* kHeads, ring, heads) {
  const Request request = ranks_request(5, 2);
  const OptionValues options{{"ring-degree", std::to_string(ring)}, {"ulysses-degree", std::to_string(8 / ring)}};
  BOOST_TEST(relative_error(denoise_on_ranks(usp_strategy(), options, request, 8, with_heads(heads)),
                            alone(request, heads)) < 1e-4);
}

BOOST_DATA_TEST_CASE(usp_chooses_its_factors, kRanks* kHeads, ranks, heads) {
  const Request request = ranks_request(3, 2);
  BOOST_TEST(relative_error(denoise_on_ranks(usp_strategy(), {}, request, ranks, with_heads(heads)),
                            alone(request, heads)) < 1e-4);
}

const StrategyEntry kAll[] = {ring_strategy(), ulysses_strategy(), usp_strategy()};

BOOST_DATA_TEST_CASE(guidance_on_two_halves_equals_single, data::make({0, 1, 2}) * data::make({2, 4, 6, 8}) * kHeads,
                     which, ranks, heads) {
  const Request request = ranks_request(3, 2);
  BOOST_TEST(
      relative_error(denoise_on_ranks(kAll[which], {{"guidance-parallel", "on"}}, request, ranks, with_heads(heads)),
                     alone(request, heads)) < 1e-4);
}

BOOST_DATA_TEST_CASE(without_guidance_too, data::make({0, 1, 2}), which) {
  const Request request = ranks_request(3, 2, 1.0);
  for (const char* parallel : {"off", "on"})
    BOOST_TEST(
        relative_error(denoise_on_ranks(kAll[which], {{"guidance-parallel", parallel}}, request, 4, with_heads(4)),
                       alone(request, 4)) < 1e-4);
}

BOOST_DATA_TEST_CASE(bf16_stays_near_single, data::make({0, 1, 2}), which) {
  const Request request = ranks_request(3, 2);
  const auto run = [&](const StrategyEntry& entry, int64_t ranks) {
    return denoise_on_ranks(entry, {}, request, ranks, with_heads(4), at::kBFloat16);
  };
  BOOST_TEST(relative_error(run(kAll[which], 4), run(single_strategy(), 1)) < 5e-2);
}

BOOST_DATA_TEST_CASE(timing_changes_nothing, data::make({0, 1, 2}), which) {
  const Request request = ranks_request(3, 1);
  const at::Tensor quick = denoise_on_ranks(kAll[which], {}, request, 4, with_heads(4));
  BOOST_TEST(denoise_on_ranks(kAll[which], {}, request, 4, with_heads(4), at::kFloat, 3).equal(quick));
}

BOOST_DATA_TEST_CASE(sends_what_the_formula_says,
                     data::make({0, 1, 2}) * data::make({2, 4, 8}) * data::make({"off", "on"}), which, ranks, halves) {
  const Request request = ranks_request(16, 1);
  const auto config = with_heads(12);
  const OptionValues options{{"guidance-parallel", halves}};
  int64_t sent = 0;
  denoise_on_ranks(kAll[which], options, request, ranks, config, at::kFloat, 0, &sent);
  const AnalyticCost cost = cost_of(kAll[which], options, request, ranks, config);
  BOOST_TEST(static_cast<double>(sent) == cost.sent_bytes, boost::test_tools::tolerance(0.01));
}

BOOST_AUTO_TEST_CASE(impossible_options_are_refused) {
  const auto refuse = [](const StrategyEntry& entry, OptionValues options, int64_t ranks,
                         const std::vector<std::string>& words) {
    expect_error<UsageError>(words, [&] { plan_of(entry, options, ranks_request(16), ranks, with_heads(4)); });
  };
  refuse(ring_strategy(), {{"guidance-parallel", "on"}}, 3, {"--guidance-parallel", "3 ranks", "even"});
  refuse(usp_strategy(), {{"ring-degree", "3"}}, 4, {"--ring-degree 3", "4 ranks"});
  refuse(usp_strategy(), {{"ring-degree", "2"}, {"ulysses-degree", "4"}}, 4, {"--ulysses-degree 4", "--ring-degree 2"});
  refuse(usp_strategy(), {{"ring-degree", "2"}, {"ulysses-degree", "2"}, {"guidance-parallel", "on"}}, 4,
         {"2 ranks of each half"});
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
