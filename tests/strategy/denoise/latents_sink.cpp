// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/latents_sink.h"

#include "tests/testing.h"

namespace dualparal::testing {

BOOST_AUTO_TEST_SUITE(strategy_latents_sink)

BOOST_AUTO_TEST_CASE(pieces_are_joined_frame_by_frame) {
  const at::Tensor all = randn({1, 4, 6, 2, 3}, 1);
  CollectingSink sink;
  for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {1, 4}, {4, 6}}) {
    sink.push(all.slice(2, begin, end));
    BOOST_TEST(identical(sink.latents(), all.slice(2, 0, end)));
  }
}

BOOST_AUTO_TEST_CASE(what_was_pushed_may_be_overwritten) {
  const at::Tensor all = randn({1, 4, 2, 2, 3}, 1), buffer = all.clone();
  CollectingSink sink;
  sink.push(buffer);
  buffer.zero_();
  BOOST_TEST(identical(sink.latents(), all));
}

BOOST_DATA_TEST_CASE(latents_become_fp32, data::make({at::kBFloat16, at::kHalf, at::kDouble}), dtype) {
  const at::Tensor all = randn({1, 4, 2, 2, 3}, 1, dtype);
  CollectingSink sink;
  sink.push(all);
  BOOST_TEST(identical(sink.latents(), all.to(at::kFloat)));
}

BOOST_AUTO_TEST_CASE(no_latents_are_an_error) {
  expect_error({"no latents"}, [] { CollectingSink().latents(); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
