// SPDX-License-Identifier: Apache-2.0
// Files that fuzzing began with, and those in which it found a fault: tests/fuzz/corpus/READER/.
#include "base/files.h"
#include "tests/fuzz/readers.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

const fs::path kCorpus = "tests/fuzz/corpus";  // from the repository's root, where the tests run

}  // namespace

BOOST_AUTO_TEST_SUITE(fuzz_corpus)

BOOST_AUTO_TEST_CASE(every_file_is_read_or_refused_by_name) {
  for (const Reader& reader : readers()) {
    BOOST_TEST_CONTEXT(reader.name) {
      BOOST_REQUIRE(fs::is_directory(kCorpus / reader.name));
      for (const auto& entry : fs::directory_iterator(kCorpus / reader.name)) {
        const TempFolder folder;
        fs::copy(kCorpus / "beside", folder.path(), fs::copy_options::recursive);
        const std::string fault = fault_of(reader, folder.path(), read_file(entry.path()));
        BOOST_TEST(fault == "", entry.path().string() << ": " << fault);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_reader_that_says_nothing_of_its_file_is_found) {
  const TempFolder folder;
  const auto fault = [&](void (*read)(const fs::path&)) { return fault_of({"x", "x", read}, folder.path(), "x"); };
  BOOST_TEST(fault([](const fs::path&) {}) == "");
  BOOST_TEST(fault([](const fs::path& path) { throw Error(path.string() + " is damaged"); }) == "");
  BOOST_TEST(fault([](const fs::path&) { throw Error("something is damaged"); }).find("no file") != std::string::npos);
  BOOST_TEST(fault([](const fs::path&) { throw std::out_of_range("map"); }).find("none of ours") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal::testing
