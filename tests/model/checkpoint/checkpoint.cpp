// SPDX-License-Identifier: Apache-2.0
#include "model/checkpoint/checkpoint.h"

#include "base/files.h"
#include "base/json.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

using WeightMap = std::map<std::string, std::string>;

const at::Tensor kA = randn({2, 3}, 1), kB = randn({4}, 2, at::kBFloat16), kC = randn({1}, 3);

void write_index(const TempFolder& folder, const WeightMap& weight_map,
                 const std::string& stem = "diffusion_pytorch_model") {
  write_file(folder / (stem + ".safetensors.index.json"),
             nlohmann::json{{"metadata", {{"total_size", 1}}}, {"weight_map", weight_map}}.dump());
}

// Tensors a and b in the first shard, c in the second.
void write_shards(const TempFolder& folder) {
  write_safetensors(folder / "one.safetensors", {{"a", kA}, {"b", kB}});
  write_safetensors(folder / "two.safetensors", {{"c", kC}});
}

void check_contents(const Checkpoint& checkpoint) {
  BOOST_TEST(identical(checkpoint.tensor("a"), kA));
  BOOST_TEST(identical(checkpoint.tensor("b"), kB));
  BOOST_TEST(identical(checkpoint.tensor("c"), kC));
  BOOST_TEST(checkpoint.files().size() == 3);
  BOOST_TEST(checkpoint.stored_bytes() == static_cast<int64_t>(kA.nbytes() + kB.nbytes() + kC.nbytes()));
  BOOST_TEST(checkpoint.entry("b").shape == std::vector<int64_t>{4}, boost::test_tools::per_element());
  BOOST_TEST(!checkpoint.contains("d"));
  expect_error({checkpoint.dir().string(), "'d'"}, [&] { checkpoint.tensor("d"); });
  expect_error({checkpoint.dir().string(), "'d'"}, [&] { checkpoint.entry("d"); });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(model_checkpoint)

BOOST_DATA_TEST_CASE(a_single_file_is_read, data::make({"diffusion_pytorch_model", "model"}), stem) {
  const TempFolder folder;
  const auto file = folder / (std::string(stem) + ".safetensors");
  write_safetensors(file, {{"a", kA}, {"b", kB}, {"c", kC}});
  const Checkpoint checkpoint(folder.path());
  check_contents(checkpoint);
  BOOST_TEST(checkpoint.file_of("a") == file.string());
}

BOOST_DATA_TEST_CASE(shards_are_read_as_the_index_says, data::make({"diffusion_pytorch_model", "model"}), stem) {
  const TempFolder folder;
  write_shards(folder);
  write_index(folder, {{"a", "one.safetensors"}, {"b", "one.safetensors"}, {"c", "two.safetensors"}}, stem);
  const Checkpoint checkpoint(folder.path());
  check_contents(checkpoint);
  BOOST_TEST(checkpoint.file_of("c") == (folder / "two.safetensors").string());
}

struct BadIndex {
  const char* what;
  WeightMap weight_map;
  std::vector<std::string> words;
};
std::ostream& operator<<(std::ostream& out, const BadIndex& bad) { return out << bad.what; }

const std::vector<BadIndex> kBadIndices = {
    {"missing shard",
     {{"a", "one.safetensors"}, {"b", "one.safetensors"}, {"c", "three.safetensors"}},
     {"three.safetensors", "No such file"}},
    {"tensor missing in its shard",
     {{"a", "one.safetensors"}, {"b", "two.safetensors"}, {"c", "two.safetensors"}},
     {"two.safetensors", "'b'", "missing"}},
    {"surplus tensor in a shard",
     {{"a", "one.safetensors"}, {"c", "two.safetensors"}},
     {"one.safetensors", "'b'", "surplus"}},
    {"shard in the folder above",
     {{"a", "../one.safetensors"}},
     {"index.json", "'a'", "../one.safetensors", "outside"}},
    {"shard in a folder below", {{"a", "below/one.safetensors"}}, {"'a'", "outside"}},
    {"absolute path of a shard", {{"a", "/etc/passwd"}}, {"'a'", "/etc/passwd", "outside"}},
    {"shard is the folder above", {{"a", ".."}}, {"expected a file"}},
    {"shard without a name", {{"a", ""}}, {"expected a file"}},
};

BOOST_DATA_TEST_CASE(an_index_that_is_wrong_is_refused, data::make(kBadIndices), bad) {
  const TempFolder folder;
  write_shards(folder);
  write_index(folder, bad.weight_map);
  expect_error(bad.words, [&] { Checkpoint checkpoint(folder.path()); });
}

BOOST_DATA_TEST_CASE(an_index_without_a_weight_map_is_refused,
                     data::make({"", "{", "[]", "{}", R"({"weight_map": []})", R"({"weight_map": {"a": 1}})"}),
                     content) {
  const TempFolder folder;
  write_shards(folder);
  write_file(folder / "model.safetensors.index.json", content);
  expect_error({"model.safetensors.index.json", "weight_map"}, [&] { Checkpoint checkpoint(folder.path()); });
}

BOOST_AUTO_TEST_CASE(a_folder_without_weights_is_refused) {
  const TempFolder folder;
  expect_error({folder.path().string(), "diffusion_pytorch_model.safetensors"},
               [&] { Checkpoint checkpoint(folder.path()); });
  expect_error({"absent", "no such folder"}, [&] { Checkpoint checkpoint(folder / "absent"); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
