// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/character_map.h"

#include <array>

#include "base/files.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

const fs::path kModel = "models/moving-shapes/tokenizer/spiece.model";

// One in which "a" becomes "b": a step by 'a', which has a value, the value, and its text.
struct Map {
  uint32_t size = 1024;
  std::array<uint32_t, 256> units{};
  std::string texts = std::string("b\0", 2);

  Map() {
    units['a'] = ('a' ^ 200u) << 10 | 1 << 8 | 'a';
    units[200] = 1u << 31 | 0;
  }
  std::string bytes() const {
    std::string all(reinterpret_cast<const char*>(&size), 4);
    return all.append(reinterpret_cast<const char*>(units.data()), 1024).append(texts);
  }
};

std::string field(int number, const std::string& value) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  for (size_t size = value.size();; size >>= 7) {
    out += static_cast<char>(size > 127 ? size | 128 : size);
    if (size <= 127) return out + value;
  }
}

// The embedded model with this map: a part of a message that comes again is added to the first.
std::string model_with(const std::string& map) { return read_file(kModel) + field(3, field(2, map)); }

BOOST_AUTO_TEST_SUITE(model_character_map)

BOOST_AUTO_TEST_CASE(a_whole_one_is_what_sentencepiece_uses) {
  const TempFolder folder;
  write_file(folder / "spiece.model", model_with(Map().bytes()));
  const auto ours = Tokenizer(folder.path()).encode("a"), expected = Tokenizer(kModel.parent_path()).encode("b");
  BOOST_TEST(ours == expected, boost::test_tools::per_element());
  BOOST_CHECK_NO_THROW(check_character_map(""));
}

BOOST_AUTO_TEST_CASE(what_leads_outside_is_refused_by_file) {
  const TempFolder folder;
  const auto refused = [&](const std::string& map, const std::string& words) {
    write_file(folder / "spiece.model", model_with(map));
    expect_error({(folder / "spiece.model").string(), "character map", words}, [&] { Tokenizer(folder.path()); });
  };
  Map size, root, step, value, text;
  size.size = 1 << 20;
  refused(size.bytes(), "does not fit");
  root.units[0] = 1u << 31;  // far away
  refused(root.bytes(), "is reached");
  step.units['a'] = 4096u << 10 | 'a';
  refused(step.bytes(), "is reached");
  value.units[200] = 1u << 31 | 2;
  refused(value.bytes(), "text 2 is used");
  text.texts = "b";
  refused(text.bytes(), "no end");
  for (const size_t bytes : {1, 4, 5, 1028}) refused(Map().bytes().substr(0, bytes), "does not fit");
}

BOOST_AUTO_TEST_CASE(a_model_that_is_cut_off_is_refused) {
  const std::string whole = model_with(Map().bytes());
  BOOST_CHECK_NO_THROW(check_character_maps_of_model(whole));
  expect_error({"cut off"},
               [&] { check_character_maps_of_model(std::string_view(whole).substr(0, whole.size() - 1)); });
  expect_error({"ten bytes"}, [] { check_character_maps_of_model(std::string(11, '\xff')); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
