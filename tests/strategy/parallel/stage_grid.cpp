// SPDX-License-Identifier: Apache-2.0
// Pipelines whose stages are groups of ranks, and a pipeline for each half of guidance: the latents of one rank, and
// the bytes of the plan.
#include "strategy/parallel/stage_grid.h"

#include "harness/options/strategies.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

struct Degrees {
  int64_t stages, sequence, halves;
};
std::ostream& operator<<(std::ostream& out, const Degrees& d) {
  return out << d.stages << " stages, " << d.sequence << " ranks each, " << d.halves << " halves";
}
const Degrees kDegrees[] = {{1, 2, 1}, {2, 2, 1}, {2, 1, 2}, {1, 2, 2}, {4, 2, 1}, {2, 2, 2}, {1, 1, 2}, {2, 4, 1}};

// Three heads over two and four ranks: uneven, and none on one; windows of 30, 42, ... tokens over four.
const TransformerConfig kConfig = with_layers(5);

OptionValues options_of(const Degrees& d, const std::string& strategy) {
  OptionValues options{{"sequence-degree", std::to_string(d.sequence)},
                       {"guidance-parallel", d.halves == 2 ? "on" : "off"}};
  if (strategy == "dualparal") options.insert({{"block-frames", "3"}, {"context-frames", "2"}});
  return options;
}

at::Tensor denoise(const std::string& name, const OptionValues& options, const Request& request, int64_t ranks,
                   int64_t* sent = nullptr, uint64_t delays = 0) {
  return denoise_on_ranks(find_strategy(name), options, request, ranks, kConfig, at::kFloat, delays, sent);
}

BOOST_AUTO_TEST_SUITE(stage_grid)

BOOST_DATA_TEST_CASE(groups_give_what_one_rank_gives,
                     data::make(kDegrees) * data::make({"dualparal", "naive_pipeline"}), degrees, name) {
  const Request request = ranks_request(13);
  const int64_t ranks = degrees.stages * degrees.sequence * degrees.halves;
  const OptionValues options = options_of(degrees, name);
  const at::Tensor alone = denoise(name, options_of({1, 1, 1}, name), request, 1);
  int64_t sent = 0;
  BOOST_TEST(relative_error(denoise(name, options, request, ranks, &sent), alone) < 1e-5);
  BOOST_TEST(static_cast<double>(sent) == cost_of(find_strategy(name), options, request, ranks, kConfig).sent_bytes,
             boost::test_tools::tolerance(1e-9));
}

// Keys and values that are kept from the block before, and cuts within a self-attention.
BOOST_DATA_TEST_CASE(caches_and_shared_parts_in_groups,
                     data::make({"synchronous", "matched", "matched_kv"}) * data::make({"on", "off"}), previous,
                     cache) {
  const Request request = ranks_request(13);
  auto options = options_of({2, 2, 1}, "dualparal");
  options["previous-context"] = previous;
  options["feature-cache"] = cache;
  auto single = options;
  single["sequence-degree"] = "1";
  const at::Tensor alone = denoise("dualparal", single, request, 1);
  options["partition"] = "2:self:0.4";
  int64_t sent = 0;
  BOOST_TEST(relative_error(denoise("dualparal", options, request, 4, &sent), alone) < 1e-5);
  BOOST_TEST(static_cast<double>(sent) == cost_of(find_strategy("dualparal"), options, request, 4, kConfig).sent_bytes,
             boost::test_tools::tolerance(1e-9));
  options["guidance-micro-batches"] = "2";
  BOOST_TEST(relative_error(denoise("dualparal", options, request, 4), alone) < 1e-5);
}

BOOST_DATA_TEST_CASE(two_experts_in_groups, data::make({Degrees{2, 2, 2}, Degrees{2, 2, 1}}), degrees) {
  const Request two = experts_request(13);
  const at::Tensor alone = denoise("dualparal", options_of({1, 1, 1}, "dualparal"), two, 1);
  BOOST_TEST(relative_error(denoise("dualparal", options_of(degrees, "dualparal"), two,
                                    degrees.stages * degrees.sequence * degrees.halves),
                            alone) < 1e-5);
}

BOOST_DATA_TEST_CASE(timing_changes_nothing, data::make({1, 2}), seed) {
  const Request request = ranks_request(13);
  const OptionValues options = options_of({2, 2, 2}, "dualparal");
  BOOST_TEST(
      identical(denoise("dualparal", options, request, 8, nullptr, seed), denoise("dualparal", options, request, 8)));
}

BOOST_AUTO_TEST_CASE(without_guidance_there_is_one_half) {
  const Request request = ranks_request(13, 4, 1.0);
  const OptionValues options = options_of({2, 1, 2}, "dualparal");
  const at::Tensor alone = denoise("dualparal", options_of({1, 1, 1}, "dualparal"), request, 1);
  BOOST_TEST(relative_error(denoise("dualparal", options, request, 4), alone) < 1e-5);
}

BOOST_AUTO_TEST_CASE(ranks_of_a_group_hold_a_share) {
  const Request request = ranks_request(13);
  const auto& entry = find_strategy("dualparal");
  const StrategyPlan plan = plan_of(entry, options_of({2, 2, 2}, "dualparal"), request, 8, kConfig);
  const StrategyPlan alone = plan_of(entry, options_of({2, 1, 1}, "dualparal"), request, 2, kConfig);
  for (int64_t rank = 0; rank < 8; ++rank)
    BOOST_TEST((plan.parts.at(rank).layers.begin == alone.parts.at(rank / 2 % 2).layers.begin));
  // Two of three heads, one of two halves.
  BOOST_TEST(plan.key_value_tokens == alone.key_value_tokens * 2 / 3 / 2, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(plan.slots->bubble_ratio() == alone.slots->bubble_ratio());
}

BOOST_AUTO_TEST_CASE(ranks_that_make_no_grid_are_refused) {
  const auto refuse = [](const OptionValues& options, int64_t ranks, const std::vector<std::string>& words) {
    expect_error<UsageError>(words,
                             [&] { plan_of(find_strategy("dualparal"), options, ranks_request(13), ranks, kConfig); });
  };
  refuse({{"sequence-degree", "2"}}, 3, {"--sequence-degree 2", "3 ranks"});
  refuse({{"guidance-parallel", "on"}}, 3, {"--guidance-parallel", "even"});
  refuse({{"sequence-degree", "2"}, {"guidance-parallel", "on"}}, 6, {"--sequence-degree 2", "3 ranks of each half"});
  refuse({{"guidance-micro-batches", "2"}, {"guidance-parallel", "on"}}, 4, {"--guidance-micro-batches 2"});
  refuse({{"sequence-degree", "64"}, {"block-frames", "1"}, {"context-frames", "0"}}, 64,
         {"--sequence-degree 64", "tokens"});
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
