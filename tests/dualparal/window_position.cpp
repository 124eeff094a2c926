// SPDX-License-Identifier: Apache-2.0
// From where a block's window counts its frames.
#include "dualparal/block_queue.h"
#include "tests/dualparal/plain_loop.h"

namespace dualparal::testing {

BOOST_AUTO_TEST_SUITE(dualparal_window_position)

// Positions written out for blocks of 5, 3, 3 and 2 frames: first block 3 + 2 frames of context.
BOOST_AUTO_TEST_CASE(positions_are_those_of_the_window_or_of_the_video) {
  const auto blocks = make_blocks(13, 3, 2);
  const auto first = [&](WindowPosition position, PreviousContext previous, int64_t block) {
    return position_offset(blocks, {block, block, 0}, {2, true, previous, position});
  };
  for (const auto previous :
       {PreviousContext::kSynchronous, PreviousContext::kMatched, PreviousContext::kMatchedKeyValues}) {
    const int64_t absolute[] = {0, 3, 6, 9};
    for (int64_t block = 0; block < 4; ++block) {
      BOOST_TEST(first(WindowPosition::kLocal, previous, block) == 0);
      BOOST_TEST(first(WindowPosition::kShifted, previous, block) == (block > 0 ? 1 : 0));
      BOOST_TEST(first(WindowPosition::kAbsolute, previous, block) == absolute[block]);
    }
  }
}

// Only distances enter self-attention: a window that is counted from elsewhere, with all that is cached for it, gives
// the same, and frames that were left behind would show.
BOOST_DATA_TEST_CASE(counting_from_elsewhere_changes_rounding_alone,
                     data::make(kVariants) * data::make({"shifted", "absolute"}), variant, position) {
  const Request request = ranks_request(variant.frames);
  auto options = options_of(variant);
  const at::Tensor local = denoise_on_ranks(dualparal_strategy(), options, request, 1, kConfig);
  options["window-position"] = "local";
  BOOST_TEST(identical(denoise_on_ranks(dualparal_strategy(), options, request, 1, kConfig), local));
  options["window-position"] = position;
  const at::Tensor other = denoise_on_ranks(dualparal_strategy(), options, request, 1, kConfig);
  BOOST_TEST(relative_error(other, local) < 1e-4);
  BOOST_TEST(identical(other, local) == (make_blocks(variant.frames, 3, variant.context).size() == 1));
  BOOST_TEST(identical(denoise_on_ranks(dualparal_strategy(), options, request, 3, kConfig), other));
  const at::Tensor noise = dualparal_strategy()
                               .make(resolve_options("dualparal", dualparal_strategy().options, options))
                               ->initial_noise(request);
  BOOST_TEST(relative_error(other, plain_loop(request, variant, noise)) < 1e-4);
}

BOOST_AUTO_TEST_CASE(positions_past_the_model_s_are_refused_before_the_run) {
  auto config = kConfig;
  config.rope_max_seq_len = 16;
  expect_error<UsageError>({"--window-position absolute", "17 latent frames", "rope_max_seq_len = 16"}, [&] {
    plan_of(dualparal_strategy(), {{"window-position", "absolute"}}, ranks_request(17), 2, config);
  });
  BOOST_CHECK_NO_THROW(plan_of(dualparal_strategy(), {}, ranks_request(17), 2, config));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal::testing
