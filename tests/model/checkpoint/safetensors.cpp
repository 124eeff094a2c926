// SPDX-License-Identifier: Apache-2.0
#include "model/checkpoint/safetensors.h"

#include <cstring>

#include "base/files.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

std::string length_prefix(uint64_t length) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes;
}

std::string file_bytes(const std::string& header, size_t data_bytes) {
  return length_prefix(header.size()) + header + std::string(data_bytes, '\1');
}

std::string one_tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"weight": {"dtype": ")" + dtype + R"(", "shape": )" + shape + R"(, "data_offsets": )" + offsets + "}}";
}

struct BadFile {
  const char* what;
  std::string content;
  std::vector<std::string> words;  // that the message must have, besides the file's name
};
std::ostream& operator<<(std::ostream& out, const BadFile& file) { return out << file.what; }

const std::vector<BadFile> kBadFiles = {
    {"empty", "", {"0 bytes"}},
    {"shorter than the length", "1234567", {"7 bytes"}},
    {"not safetensors at all", "PK\3\4 this is some zip archive", {"not a safetensors file"}},
    {"header length beyond the file", length_prefix(1000) + "{}", {"truncated", "1000"}},
    {"header length beyond all sense", length_prefix(~0ull) + "{}", {"not a safetensors file"}},
    {"header cut off", file_bytes(one_tensor("F32", "[2]", "[0, 8]").substr(0, 20), 0), {"JSON"}},
    {"header no JSON", file_bytes("hello, world", 8), {"JSON"}},
    {"header no object", file_bytes("[1, 2]", 8), {"JSON object"}},
    {"header no UTF-8", file_bytes("{\"\xff\xfe\": 1}", 8), {"JSON"}},
    {"metadata no object", file_bytes(R"({"__metadata__": 3})", 0), {"__metadata__"}},
    {"entry no object", file_bytes(R"({"weight": 7})", 8), {"'weight'", "malformed"}},
    {"entry without dtype",
     file_bytes(R"({"weight": {"shape": [2], "data_offsets": [0, 8]}})", 8),
     {"'weight'", "dtype"}},
    {"entry without shape",
     file_bytes(R"({"weight": {"dtype": "F32", "data_offsets": [0, 8]}})", 8),
     {"'weight'", "shape"}},
    {"entry without offsets",
     file_bytes(R"({"weight": {"dtype": "F32", "shape": [2]}})", 8),
     {"'weight'", "data_offsets"}},
    {"shape a number", file_bytes(one_tensor("F32", "2", "[0, 8]"), 8), {"'weight'"}},
    {"shape of texts", file_bytes(one_tensor("F32", R"(["2"])", "[0, 8]"), 8), {"'weight'", "shape"}},
    {"sizes of no numbers that cannot be multiplied",
     file_bytes(one_tensor("F32", "[0, 4611686018427387904, 4611686018427387904]", "[0, 0]"), 8),
     {"'weight'", "too large"}},
    {"data truncated", file_bytes(one_tensor("F32", "[2, 3]", "[0, 24]"), 23), {"'weight'", "0..24", "23"}},
    {"offsets outside the file", file_bytes(one_tensor("F32", "[2]", "[8000, 8008]"), 8), {"'weight'", "8000..8008"}},
    {"offsets beyond all sense",
     file_bytes(one_tensor("F32", "[2]", "[18446744073709551608, 18446744073709551615]"), 8),
     {"'weight'"}},
    {"offsets negative", file_bytes(one_tensor("F32", "[2]", "[-8, 0]"), 8), {"'weight'", "data_offsets"}},
    {"offsets the wrong way round", file_bytes(one_tensor("F32", "[2]", "[8, 0]"), 8), {"'weight'", "data_offsets"}},
    {"three offsets", file_bytes(one_tensor("F32", "[2]", "[0, 4, 8]"), 8), {"'weight'", "data_offsets"}},
    {"offsets with fractions", file_bytes(one_tensor("F32", "[2]", "[0.5, 8]"), 8), {"'weight'", "data_offsets"}},
    {"fewer bytes than the shape", file_bytes(one_tensor("F32", "[3]", "[0, 8]"), 8), {"'weight'", "12 bytes", "8"}},
    {"more bytes than the shape", file_bytes(one_tensor("BF16", "[3]", "[0, 8]"), 8), {"'weight'", "6 bytes", "8"}},
    {"unknown dtype", file_bytes(one_tensor("F8_E4M3", "[8]", "[0, 8]"), 8), {"'weight'", "F8_E4M3"}},
    {"negative extent", file_bytes(one_tensor("F32", "[-2]", "[0, 8]"), 8), {"'weight'", "shape"}},
    {"shape that overflows",
     file_bytes(one_tensor("F32", "[4294967296, 4294967296]", "[0, 0]"), 8),
     {"'weight'", "too large"}},
    {"extent that overflows", file_bytes(one_tensor("F32", "[9223372036854775808]", "[0, 0]"), 8), {"'weight'"}},
    {"extent past 64 bits", file_bytes(one_tensor("F32", "[18446744073709551618]", "[0, 8]"), 8), {"'weight'"}},
    {"zero times an overflow", file_bytes(one_tensor("F32", "[4294967296, 4294967296, 0]", "[0, 0]"), 8), {"'weight'"}},
    {"tensors overlap",
     file_bytes(R"({"first": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                    "second": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}})",
                12),
     {"'first'", "'second'", "overlap"}},
};

}  // namespace

BOOST_AUTO_TEST_SUITE(model_safetensors)

BOOST_DATA_TEST_CASE(tensors_come_back_as_written,
                     data::make({at::kFloat, at::kBFloat16, at::kHalf, at::kDouble, at::kLong, at::kInt, at::kShort,
                                 at::kChar, at::kByte, at::kBool}),
                     dtype) {
  const TempFolder folder;
  const at::Tensor numbers = (randn({3, 5, 7}, 1) * 40).abs().to(dtype);
  const std::map<std::string, at::Tensor> written = {{"all", numbers},
                                                     {"strided", numbers.transpose(0, 2)},
                                                     {"part", numbers.slice(1, 1, 4, 2)},
                                                     {"scalar", numbers[0][0][0]},
                                                     {"nothing", at::empty({0, 3}, numbers.options())},
                                                     {"odd", numbers.flatten().slice(0, 0, 1)}};
  write_safetensors(folder / "tensors.safetensors", written);
  const auto file = SafetensorsFile::open(folder / "tensors.safetensors");
  BOOST_TEST(file->entries().size() == written.size());
  for (const auto& [name, tensor] : written)
    BOOST_TEST(identical(file->tensor(name), tensor), name << " of " << c10::toString(dtype));
}

BOOST_AUTO_TEST_CASE(metadata_and_odd_names_come_back) {
  const TempFolder folder;
  const std::map<std::string, std::string> metadata = {{"prompt", "a \"quoted\" line\nand \xe4\xbd\xa0\xe5\xa5\xbd"},
                                                       {"empty", ""}};
  write_safetensors(folder / "t.safetensors", {{"a.b/c \"d\"", at::ones({2})}}, metadata);
  const auto file = SafetensorsFile::open(folder / "t.safetensors");
  BOOST_TEST((file->metadata() == metadata));
  BOOST_TEST(identical(file->tensor("a.b/c \"d\""), at::ones({2})));
  write_safetensors(folder / "none.safetensors", {});
  BOOST_TEST(SafetensorsFile::open(folder / "none.safetensors")->entries().empty());
}

BOOST_AUTO_TEST_CASE(a_tensor_outlives_the_file_object_and_the_file) {
  const TempFolder folder;
  const at::Tensor written = randn({1000}, 2);
  write_safetensors(folder / "t.safetensors", {{"x", written}});
  const at::Tensor read = SafetensorsFile::open(folder / "t.safetensors")->tensor("x");
  fs::remove(folder / "t.safetensors");
  BOOST_TEST(identical(read, written));
}

BOOST_AUTO_TEST_CASE(writing_to_a_read_tensor_leaves_the_file_alone) {
  const TempFolder folder;
  write_safetensors(folder / "t.safetensors", {{"x", at::ones({5})}});
  SafetensorsFile::open(folder / "t.safetensors")->tensor("x").zero_();
  BOOST_TEST(identical(SafetensorsFile::open(folder / "t.safetensors")->tensor("x"), at::ones({5})));
}

BOOST_AUTO_TEST_CASE(unaligned_data_is_read) {
  const TempFolder folder;
  const float value = 1.5f;
  std::string header = R"({"byte": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, )"
                       R"("number": {"dtype": "F32", "shape": [1], "data_offsets": [1, 5]}})";
  std::string content = file_bytes(header, 1);
  content.append(reinterpret_cast<const char*>(&value), 4);
  write_file(folder / "t.safetensors", content);
  BOOST_TEST(SafetensorsFile::open(folder / "t.safetensors")->tensor("number").item<float>() == value);
}

BOOST_DATA_TEST_CASE(bad_files_are_refused_by_name, data::make(kBadFiles), bad) {
  const TempFolder folder;
  write_file(folder / "bad.safetensors", bad.content);
  std::vector<std::string> words = bad.words;
  words.push_back("bad.safetensors");
  expect_error(words, [&] { SafetensorsFile::open(folder / "bad.safetensors"); });
}

BOOST_AUTO_TEST_CASE(every_truncation_of_a_good_file_is_refused) {
  const TempFolder folder;
  write_safetensors(folder / "good.safetensors", {{"a", randn({3}, 3)}, {"b", randn({2, 2}, 4)}});
  const std::string whole = read_file(folder / "good.safetensors");
  for (size_t length = 0; length < whole.size(); ++length) {
    write_file(folder / "cut.safetensors", whole.substr(0, length));
    BOOST_CHECK_THROW(SafetensorsFile::open(folder / "cut.safetensors"), Error);
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_file_is_refused) {
  const TempFolder folder;
  expect_error({"absent.safetensors", "No such file"}, [&] { SafetensorsFile::open(folder / "absent.safetensors"); });
  expect_error({folder.path().string(), "expected a file"}, [&] { SafetensorsFile::open(folder.path()); });
}

BOOST_AUTO_TEST_CASE(a_wanted_tensor_is_checked) {
  const TempFolder folder;
  const fs::path file = folder / "noise.safetensors";
  write_safetensors(file, {{"noise", randn({1, 16, 3}, 5)}, {"ids", at::ones({2}, at::kLong)}});
  BOOST_TEST(read_tensor(file, "noise", {1, 16, -1}).size(2) == 3);
  expect_error({"noise.safetensors", "'latents'", "noise", "ids"}, [&] { read_tensor(file, "latents", {-1}); });
  expect_error({"noise.safetensors", "'noise'", "[1, 8, any]", "[1, 16, 3]"}, [&] {
    read_tensor(file, "noise", {1, 8, -1});
  });
  expect_error({"'noise'", "[1, 16]"}, [&] { read_tensor(file, "noise", {1, 16}); });
  expect_error({"'ids'", "floating point"}, [&] { read_tensor(file, "ids", {2}); });
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_written_is_absent) {
  const TempFolder folder;
  write_file(folder / "plain", "");
  expect_error({"plain"}, [&] { write_safetensors(folder / "plain/x.safetensors", {{"x", at::ones({1})}}); });
  expect_error({"cannot be written"}, [&] {
    write_safetensors(folder / "x.safetensors", {{"x", at::ones({1}, at::kComplexFloat)}});
  });
  BOOST_TEST(folder.list().size() == 1);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
