// SPDX-License-Identifier: Apache-2.0
#include "base/parse_json.h"

#include "tests/testing.h"

namespace dualparal::testing {

BOOST_AUTO_TEST_SUITE(base_json)

BOOST_AUTO_TEST_CASE(what_nests_too_deep_is_no_json) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  BOOST_CHECK_NO_THROW(parse_json(nested(kDeepestJson)));
  for (const int depth : {kDeepestJson + 1, 100'000})
    BOOST_CHECK_THROW(parse_json(nested(depth)), nlohmann::json::parse_error);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  BOOST_CHECK_THROW(parse_json(objects), nlohmann::json::parse_error);
}

BOOST_AUTO_TEST_CASE(brackets_in_texts_and_beside_each_other_do_not_count) {
  const std::string text = R"(["\"[[", "\\", )" + nlohmann::json(std::string(1000, '[')).dump() + "]";
  BOOST_TEST(parse_json(text).size() == 3u);
  std::string wide = "[[]";
  for (int i = 0; i < 1000; ++i) wide += ",[{}]";
  BOOST_TEST(parse_json(wide + "]").size() == 1001u);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
