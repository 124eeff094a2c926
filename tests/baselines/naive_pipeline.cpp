// SPDX-License-Identifier: Apache-2.0
#include "baselines/naive_pipeline.h"

#include "baselines/single.h"
#include "tests/ranks.h"

namespace dualparal::testing {

BOOST_AUTO_TEST_SUITE(naive_pipeline)

BOOST_DATA_TEST_CASE(equals_single, data::make({1, 2, 3, 4, 8}) * data::make({"1", "2"}), ranks, micro_batches) {
  const Request request = ranks_request(3);
  const at::Tensor expected = denoise_on_ranks(single_strategy(), {}, request, 1, with_layers(9));
  const at::Tensor actual = denoise_on_ranks(naive_pipeline_strategy(), {{"guidance-micro-batches", micro_batches}},
                                             request, ranks, with_layers(9));
  BOOST_TEST(relative_error(actual, expected) < 1e-4);
}

BOOST_DATA_TEST_CASE(bf16_stays_near_single, data::make({1, 3, 8}), ranks) {
  const Request request = ranks_request(3);
  const auto run = [&](const StrategyEntry& entry, int64_t n) {
    return denoise_on_ranks(entry, {}, request, n, with_layers(9), at::kBFloat16);
  };
  BOOST_TEST(relative_error(run(naive_pipeline_strategy(), ranks), run(single_strategy(), 1)) < 2e-2);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal::testing
