// SPDX-License-Identifier: Apache-2.0
#include "base/unnamed_file.h"

#include <cstdlib>

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

BOOST_AUTO_TEST_SUITE(unnamed_file)

BOOST_AUTO_TEST_CASE(what_was_written_is_read_at_its_place) {
  UnnamedFile file("numbers");
  const std::vector<int64_t> numbers{1, 2, 3};
  file.write(&numbers[1], 16, 8);
  file.write(&numbers[0], 8, 0);
  std::vector<int64_t> read(3);
  file.read(read.data(), 24, 0);
  BOOST_TEST(read == numbers, boost::test_tools::per_element());
  file.read(read.data(), 8, 16);
  BOOST_TEST(read[0] == 3);
  expect_error({"cannot read numbers", "the file ended"}, [&] { file.read(read.data(), 16, 16); });
}

BOOST_AUTO_TEST_CASE(it_has_no_name_and_needs_a_folder) {
  const TempFolder folder;
  const char* before = std::getenv("TMPDIR");
  const std::string usual = before ? before : "";
  setenv("TMPDIR", folder.path().c_str(), 1);
  {
    const UnnamedFile file("numbers");
    BOOST_TEST(folder.list().empty());
  }
  setenv("TMPDIR", (folder / "none").c_str(), 1);
  BOOST_CHECK_THROW(UnnamedFile("numbers"), std::exception);
  before ? setenv("TMPDIR", usual.c_str(), 1) : unsetenv("TMPDIR");
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
