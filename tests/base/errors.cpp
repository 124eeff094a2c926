// SPDX-License-Identifier: Apache-2.0
#include "base/errors.h"

#include "tests/testing.h"

namespace dualparal::testing {
BOOST_AUTO_TEST_SUITE(runtime_errors)

BOOST_AUTO_TEST_CASE(check_throws_only_when_the_condition_fails) {
  BOOST_CHECK_NO_THROW(check(true, "never {}", 1));
  expect_error({"layers 3..9 do not exist in a model of 8"},
               [] { check(false, "layers {}..{} do not exist in a model of {}", 3, 9, 8); });
}

BOOST_AUTO_TEST_CASE(an_error_knows_the_line_that_raised_it) {
  unsigned line = 0;
  try {
    line = __LINE__ + 1;
    check(false, "here");
  } catch (const Error& error) {
    BOOST_TEST(error.where().line() == line);
    BOOST_TEST(std::string(error.where().file_name()).ends_with("base/errors.cpp"));
    return;
  }
  BOOST_ERROR("no error was thrown");
}

BOOST_AUTO_TEST_CASE(wrong_usage_is_an_error_of_its_own_kind) {
  expect_error<UsageError>({"--steps", "got 0"}, [] { check_usage(false, "--steps: got {}", 0); });
  try {
    fail("broken {}", "disk");
  } catch (const UsageError&) {
    BOOST_ERROR("a failure is no wrong usage: the exit codes differ");
  } catch (const Error& error) {
    BOOST_TEST(std::string(error.what()) == "broken disk");
  }
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
