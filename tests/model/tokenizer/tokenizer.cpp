// SPDX-License-Identifier: Apache-2.0
// With the embedded model's vocabulary: whole lower-case words of its prompts, letters for the rest.
#include "model/tokenizer/tokenizer.h"

#include <algorithm>

#include "base/files.h"
#include "base/json.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;

const fs::path kEmbedded = "models/moving-shapes/tokenizer";
constexpr int64_t kEnd = 1;

// The embedded vocabulary in a folder of its own, with this tokenizer_config.json (none if empty).
std::unique_ptr<Tokenizer> with_config(const std::string& config) {
  const TempFolder folder;
  fs::copy(kEmbedded / "spiece.model", folder / "spiece.model");
  if (!config.empty()) write_file(folder / "tokenizer_config.json", config);
  return std::make_unique<Tokenizer>(folder.path());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(model_tokenizer)

BOOST_AUTO_TEST_CASE(a_prompts_ids_end_with_the_end_token) {
  const Tokenizer tokenizer(kEmbedded);
  BOOST_TEST(tokenizer.max_length() == 32);
  BOOST_TEST(tokenizer.vocabulary_size() == 117);
  const auto circle = tokenizer.encode("a red circle"), square = tokenizer.encode("a red square");
  BOOST_TEST(circle.size() == 4u);
  BOOST_TEST(circle.back() == kEnd);
  BOOST_TEST(std::count(circle.begin(), circle.end(), kEnd) == 1);
  // Two words in common, one of its own.
  BOOST_TEST(square.size() == 4u);
  BOOST_TEST(std::equal(circle.begin(), circle.begin() + 2, square.begin()));
  BOOST_TEST(circle[2] != square[2]);
  for (const int64_t id : circle) BOOST_TEST((0 <= id && id < tokenizer.vocabulary_size()));
}

BOOST_DATA_TEST_CASE(an_empty_prompt_is_the_end_token_alone, data::make({"", "   ", "\t\r\n"}), prompt) {
  BOOST_TEST(Tokenizer(kEmbedded).encode(prompt) == std::vector<int64_t>{kEnd}, tt::per_element());
}

BOOST_AUTO_TEST_CASE(prompts_are_cleaned_first) {
  const Tokenizer tokenizer(kEmbedded);
  BOOST_TEST(tokenizer.encode("  a\n red\t circle ") == tokenizer.encode("a red circle"), tt::per_element());
  BOOST_TEST(tokenizer.encode("a &#114;ed circle") == tokenizer.encode("a red circle"), tt::per_element());
}

// `words` words are one token each.
BOOST_DATA_TEST_CASE(long_prompts_are_cut_and_still_end, data::make({30, 31, 32, 600}), words) {
  const Tokenizer tokenizer(kEmbedded);
  std::string prompt;
  for (int i = 0; i < words; ++i) prompt += "red ";
  const auto ids = tokenizer.encode(prompt);
  BOOST_TEST(ids.size() == static_cast<size_t>(std::min(words + 1, 32)));
  BOOST_TEST(ids.back() == kEnd);
  BOOST_TEST(std::count(ids.begin(), ids.end(), kEnd) == 1);
}

BOOST_AUTO_TEST_CASE(the_longest_prompt_is_512_tokens_unless_the_model_says_less) {
  BOOST_TEST(with_config("")->max_length() == 512);
  BOOST_TEST(with_config("{}")->max_length() == 512);
  BOOST_TEST(with_config(R"({"model_max_length": 1000000000000000019884624838656})")->max_length() == 512);
  BOOST_TEST(with_config(R"({"model_max_length": 5})")->max_length() == 5);
  BOOST_TEST(with_config(R"({"model_max_length": 5})")->encode("a red circle moves to the left").size() == 5u);
  BOOST_TEST(with_config(R"({"model_max_length": 1})")->encode("a red circle") == std::vector<int64_t>{kEnd},
             tt::per_element());
}

BOOST_AUTO_TEST_CASE(a_config_that_is_wrong_is_refused) {
  expect_error({"tokenizer_config.json", "JSON"}, [] { with_config("{"); });
  expect_error({"tokenizer_config.json", "'model_max_length'", "positive"},
               [] { with_config(R"({"model_max_length": 0})"); });
}

BOOST_AUTO_TEST_CASE(a_folder_without_a_vocabulary_is_refused) {
  const TempFolder folder;
  for (const fs::path& dir : {folder / "absent", folder.path()})
    expect_error({dir.string() + ":", "spiece.model", "tokenizer.json", "--prompt-embeds"},
                 [&] { Tokenizer tokenizer(dir); });
  fs::create_directory(folder / "spiece.model");
  expect_error({(folder / "spiece.model").string(), "a folder"}, [&] { Tokenizer tokenizer(folder.path()); });
  fs::remove(folder / "spiece.model");
  write_file(folder / "spiece.model", "no vocabulary");
  expect_error({(folder / "spiece.model").string(), "not a sentencepiece model"},
               [&] { Tokenizer tokenizer(folder.path()); });
}

// What transformers gives for it: tests/parity/test_text.py.
BOOST_AUTO_TEST_CASE(a_tokenizer_json_gives_the_same_ids) {
  const TempFolder folder;
  fs::copy(kEmbedded / "tokenizer.json", folder / "tokenizer.json");
  const Tokenizer ours(folder.path()), theirs(kEmbedded);
  for (const char* prompt :
       {"a red circle moves to the left", "", "Zebra \u4e00 \U0001F600 caf\u00e9", "a-red,circle!"})
    BOOST_TEST(ours.encode(prompt) == theirs.encode(prompt), tt::per_element());
  // The tokenizers library takes such texts out first.
  BOOST_TEST(ours.encode("red</s><pad> circle") ==
                 (std::vector<int64_t>{ours.encode("red")[0], kEnd, 0, ours.encode("circle")[0], kEnd}),
             tt::per_element());
}

BOOST_AUTO_TEST_CASE(a_tokenizer_json_is_not_guessed_at) {
  const TempFolder folder;
  const fs::path file = folder / "tokenizer.json";
  const auto whole = nlohmann::json::parse(read_file(kEmbedded / "tokenizer.json"));
  const auto refuse = [&](const std::string& key, const nlohmann::json& value, const std::vector<std::string>& words) {
    auto changed = whole;
    changed[nlohmann::json::json_pointer(key)] = value;
    write_file(file, changed.dump());
    std::vector<std::string> expected = words;
    expected.push_back(file.string());
    expect_error(expected, [&] { Tokenizer tokenizer(folder.path()); });
  };
  refuse("/model/type", "BPE", {"Unigram", "BPE"});
  refuse("/model/unk_id", nullptr, {"unk_id"});
  refuse("/model/vocab", nlohmann::json::array({"a"}), {"tokenizers library"});
  refuse("/normalizer", {{"type", "Lowercase"}}, {"normalizer", "Lowercase", "Precompiled"});
  refuse("/pre_tokenizer", {{"type", "ByteLevel"}}, {"pre_tokenizer", "ByteLevel", "Metaspace"});
  refuse("/pre_tokenizer", nullptr, {"pre_tokenizer", "Metaspace"});
  refuse("/pre_tokenizer/pretokenizers/1/prepend_scheme", "never", {"Metaspace", "never"});
  refuse("/post_processor", nullptr, {"post_processor", "end token"});
  refuse("/added_tokens/0/single_word", true, {"added token", "single words"});
  nlohmann::json deep;
  for (int i = 0; i < 200; ++i) deep = nlohmann::json::array({deep});
  refuse("/post_processor", deep, {"nest deeper"});
  write_file(file, "{");
  expect_error({file.string(), "tokenizers library"}, [&] { Tokenizer tokenizer(folder.path()); });
}

BOOST_AUTO_TEST_CASE(other_encodings_are_refused) {
  expect_error({"UTF-8"}, [] { Tokenizer(kEmbedded).encode("caf\xE9"); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
