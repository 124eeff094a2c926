// SPDX-License-Identifier: Apache-2.0
#include "base/nearest.h"

#include "tests/testing.h"

namespace dualparal::testing {

BOOST_AUTO_TEST_SUITE(base_nearest)

BOOST_AUTO_TEST_CASE(a_slip_of_the_fingers_is_seen_through) {
  const std::vector<std::string> words{"strategy", "steps", "seed", "save-noise", "save-latents", "nproc", "fps"};
  for (const auto& [typed, meant] : std::vector<std::pair<std::string, std::string>>{{"stratgy", "strategy"},
                                                                                     {"startegy", "strategy"},
                                                                                     {"stepps", "steps"},
                                                                                     {"sede", "seed"},
                                                                                     {"save-niose", "save-noise"},
                                                                                     {"save-latent", "save-latents"},
                                                                                     {"nprco", "nproc"},
                                                                                     {"fsp", "fps"}})
    BOOST_TEST(nearest(typed, words) == meant);
  BOOST_TEST(did_you_mean("stratgy", words) == " (did you mean 'strategy'?)");
}

BOOST_AUTO_TEST_CASE(what_is_like_nothing_has_no_suggestion) {
  for (const char* word : {"colour", "x", "", "prompt"}) {
    BOOST_TEST(nearest(word, {"strategy", "steps", "fps"}) == "");
    BOOST_TEST(did_you_mean(word, {"strategy", "steps", "fps"}) == "");
  }
  BOOST_TEST(nearest("a", {"b"}) == "");
  BOOST_TEST(nearest("word", {}) == "");
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
