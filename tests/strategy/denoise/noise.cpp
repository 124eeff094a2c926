// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/noise.h"

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

Request request(uint64_t seed) {
  Request result;
  result.latent_frames = 8;
  result.latent_height = 3;
  result.latent_width = 5;
  result.seed = seed;
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(strategy_noise)

BOOST_AUTO_TEST_CASE(a_frames_noise_depends_on_seed_and_frame_alone) {
  const at::Tensor all = frame_noise(request(7), 0, 8);
  BOOST_TEST(all.sizes().vec() == (std::vector<int64_t>{1, 16, 8, 3, 5}), boost::test_tools::per_element());
  BOOST_TEST(identical(frame_noise(request(7), 2, 5), all.slice(2, 2, 5)));
  Request longer = request(7);
  longer.latent_frames = 100;
  BOOST_TEST(identical(frame_noise(longer, 0, 8), all));
}

BOOST_AUTO_TEST_CASE(frames_and_seeds_differ) {
  const at::Tensor all = frame_noise(request(7), 0, 8);
  for (int64_t frame = 1; frame < 8; ++frame) BOOST_TEST(!at::equal(all.select(2, 0), all.select(2, frame)));
  for (const uint64_t seed : {0, 1, 6, 8})
    for (int64_t frame = 0; frame < 8; ++frame)
      BOOST_TEST(!at::equal(frame_noise(request(seed), frame, frame + 1), all.slice(2, frame, frame + 1)));
}

BOOST_AUTO_TEST_CASE(it_is_standard_normal) {
  Request big = request(3);
  big.latent_height = big.latent_width = 64;
  const at::Tensor noise = frame_noise(big, 0, 2);  // 131072 numbers: deviations of 0.003 are usual
  BOOST_TEST(std::abs(noise.mean().item<double>()) < 0.02);
  BOOST_TEST(std::abs(noise.std().item<double>() - 1) < 0.02);
}

BOOST_AUTO_TEST_CASE(given_noise_is_used_as_it_is) {
  Request given = request(7);
  given.initial_noise = randn({1, 16, 4, 3, 5}, 1);
  BOOST_TEST(identical(frame_noise(given, 1, 3), given.initial_noise.slice(2, 1, 3)));
  expect_error({"--initial-noise", "4 latent frames", "2..4"}, [&] { frame_noise(given, 2, 5); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
