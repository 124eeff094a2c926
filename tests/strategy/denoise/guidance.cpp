// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/guidance.h"

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

Request request(double scale) {
  Request result;
  result.guidance_scale = scale;
  result.prompt_embeds = randn({1, 7, 5}, 1);
  result.negative_prompt_embeds = randn({1, 7, 5}, 2);
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(strategy_guidance)

BOOST_DATA_TEST_CASE(the_formula_holds, data::make({1.5, 5.0, 12.25}), scale) {
  const Request r = request(scale);
  const at::Tensor prediction = randn({2, 3, 4}, 3, at::kBFloat16), wide = prediction.to(at::kDouble);
  const at::Tensor expected = wide.slice(0, 1) + scale * (wide.slice(0, 0, 1) - wide.slice(0, 1));
  const at::Tensor guided = apply_guidance(r, prediction);
  BOOST_TEST((guided.scalar_type() == at::kFloat));
  BOOST_TEST(relative_error(guided, expected) < 1e-6);
  BOOST_TEST(identical(guidance_batch(r)[0], r.prompt_embeds[0]));
  BOOST_TEST(identical(guidance_batch(r)[1], r.negative_prompt_embeds[0]));
  const at::Tensor latents = randn({1, 2, 3}, 4);
  BOOST_TEST(identical(duplicate_for_guidance(r, latents), at::cat({latents, latents})));
}

BOOST_DATA_TEST_CASE(one_or_less_is_no_guidance, data::make({1.0, 0.0, -1.0}), scale) {
  const Request r = request(scale);
  const at::Tensor latents = randn({1, 2, 3}, 4);
  BOOST_TEST(identical(guidance_batch(r), r.prompt_embeds));
  BOOST_TEST(identical(duplicate_for_guidance(r, latents), latents));
  BOOST_TEST(identical(apply_guidance(r, latents), latents));
}

BOOST_AUTO_TEST_CASE(embeddings_of_different_lengths_are_refused) {
  Request r = request(5);
  r.negative_prompt_embeds = randn({1, 6, 5}, 2);
  expect_error({"[1, 7, 5]", "[1, 6, 5]"}, [&] { guidance_batch(r); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
