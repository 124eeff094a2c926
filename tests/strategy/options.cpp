// SPDX-License-Identifier: Apache-2.0
#include "strategy/options.h"

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

const std::vector<OptionSpec> kSpecs = {{"block-frames", "latent frames of a block", "8", {}, 1},
                                        {"transport", "how ranks talk", "ring", {"ring", "p2p"}, 0}};

OptionValues resolve(const OptionValues& given) { return resolve_options("demo", kSpecs, given); }

}  // namespace

BOOST_AUTO_TEST_SUITE(strategy_options)

BOOST_AUTO_TEST_CASE(defaults_fill_what_is_not_given) {
  BOOST_TEST((resolve({}) == OptionValues{{"block-frames", "8"}, {"transport", "ring"}}));
  BOOST_TEST((resolve({{"transport", "p2p"}}) == OptionValues{{"block-frames", "8"}, {"transport", "p2p"}}));
  BOOST_TEST(resolve({{"block-frames", "1"}}).at("block-frames") == "1");
}

BOOST_DATA_TEST_CASE(values_that_are_no_such_number_are_refused,
                     data::make({"", "0", "-1", "+2", "1.5", "x", "3x", " 3", "99999999999999999999"}), value) {
  expect_error<UsageError>({"--block-frames", "at least 1", std::string("'") + value + "'"}, [&] {
    resolve({{"block-frames", value}});
  });
}

BOOST_AUTO_TEST_CASE(unknown_options_and_choices_are_refused) {
  expect_error<UsageError>({"--transport", "ring or p2p", "'mpi'"}, [] { resolve({{"transport", "mpi"}}); });
  expect_error<UsageError>({"--blocks", "'demo'", "--block-frames", "--transport"}, [] { resolve({{"blocks", "3"}}); });
  expect_error<UsageError>({"--any", "none"}, [] { resolve_options("single", {}, {{"any", "1"}}); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
