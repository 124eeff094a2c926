// SPDX-License-Identifier: Apache-2.0
// Which ranks and videos each replica has.
#include "harness/options/replicas.h"

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

GenerateOptions listed(int64_t prompts, int64_t replicas) {
  GenerateOptions options;
  options.run.scenario = kOffline;
  options.run.replicas = replicas;
  options.video.listed_prompts.assign(static_cast<size_t>(prompts), "a circle");
  return options;
}

BOOST_AUTO_TEST_SUITE(replicas)

BOOST_AUTO_TEST_CASE(neighbouring_ranks_share_videos_that_are_dealt_out_in_turn) {
  const auto all = replicas_of(listed(7, 3), 12);
  const std::vector<std::vector<int64_t>> videos{{0, 3, 6}, {1, 4}, {2, 5}};
  BOOST_REQUIRE(all.size() == 3u);
  for (size_t i = 0; i < 3; ++i) {
    BOOST_TEST(all[i].ranks.begin == static_cast<int64_t>(4 * i));
    BOOST_TEST(all[i].ranks.size() == 4);
    BOOST_TEST(all[i].videos == videos[i], boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(without_the_flag_all_is_one_replica) {
  const auto all = replicas_of(GenerateOptions{}, 5);
  BOOST_REQUIRE(all.size() == 1u);
  BOOST_TEST(all[0].ranks.size() == 5);
  BOOST_TEST(all[0].videos.size() == 1u);
  BOOST_TEST(replicas_of(listed(3, 1), 5).at(0).videos.size() == 3u);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_cut_is_refused) {
  expect_error<UsageError>({"--replicas 3", "4 ranks", "--nproc"}, [] { replicas_of(listed(6, 3), 4); });
  expect_error<UsageError>({"--replicas 4", "3 prompts"}, [] { replicas_of(listed(3, 4), 8); });
  GenerateOptions alone = listed(3, 2);
  check_replicas(alone);
  alone.run.scenario = "";
  expect_error<UsageError>({"--replicas 2", "--prompt-list", "--scenario"}, [&] { check_replicas(alone); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
