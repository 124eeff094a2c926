// SPDX-License-Identifier: Apache-2.0
// The pipelines' cost formulas against what their ranks send; the other strategies' stand with their tests.
#include "strategy/plan.h"

#include "baselines/naive_pipeline.h"
#include "dualparal/dualparal.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

void check_sent(const StrategyEntry& entry, const OptionValues& options, int64_t frames, int64_t ranks) {
  const Request request = ranks_request(frames, 3);
  const TransformerConfig config = with_layers(8);
  int64_t sent = 0;
  denoise_on_ranks(entry, options, request, ranks, config, at::kFloat, 0, &sent);
  const AnalyticCost cost = cost_of(entry, options, request, ranks, config);
  BOOST_TEST(static_cast<double>(sent) == cost.sent_bytes, boost::test_tools::tolerance(0.01));
}

BOOST_AUTO_TEST_SUITE(cost)

BOOST_DATA_TEST_CASE(naive_pipeline_sends_what_the_formula_says, data::make({1, 2, 4, 8}), ranks) {
  check_sent(naive_pipeline_strategy(), {}, 5, ranks);
}

BOOST_DATA_TEST_CASE(dualparal_sends_what_the_formula_says,
                     data::make({1, 2, 4, 8}) * data::make({"on", "off"}) * data::make({"synchronous", "matched_kv"}),
                     ranks, cache, previous) {
  check_sent(dualparal_strategy(),
             {{"block-frames", "3"}, {"context-frames", "2"}, {"feature-cache", cache}, {"previous-context", previous}},
             12, ranks);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
