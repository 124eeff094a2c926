// SPDX-License-Identifier: Apache-2.0
// Files of snapshots: whole or refused by name, two of them kept, and the newest whole one taken.
#include "harness/snapshots/snapshot_folder.h"

#include <c10/core/InferenceMode.h>

#include <fstream>

#include "harness/snapshots/resume_check.h"
#include "harness/snapshots/run_snapshots.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

const nlohmann::ordered_json kRun{{"seed", 1}};

RunState state_of(int64_t seed) { return latents_state(0, randn({1, 4, 3, 2, 2}, seed), nullptr); }

void write(const SnapshotFolder& folder, int64_t done, int64_t rank = 0, int64_t keepers = 1, int64_t finished = 0) {
  write_snapshot_file(folder.rank_file(done, rank), state_of(done),
                      {{"done", done}, {"world_size", 2}, {"keepers", keepers}, {"finished", finished}, {"run", kRun}});
}

void flip_bit(const fs::path& file, int64_t place) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(place);
  const char byte = static_cast<char>(stream.get() ^ 4);
  stream.seekp(place);
  stream.put(byte);
}

// What newest() takes, and says.
std::pair<int64_t, std::string> taken(const SnapshotFolder& folder) {
  std::string told;
  const auto newest = folder.newest([&](const std::string& line) { told += line + "\n"; });
  return {newest ? newest->run.done : -1, told};
}

BOOST_AUTO_TEST_SUITE(snapshot_folder)

BOOST_AUTO_TEST_CASE(a_file_gives_back_what_was_kept) {
  const TempFolder folder;
  RunState state = state_of(3);
  state.tensors["half"] = randn({2, 3}, 4, at::kBFloat16).t();
  state.numbers["sampler/steps"] = 7;
  write_snapshot_file(folder / "f", state, {{"done", 2}});
  const SnapshotFile read = read_snapshot_file(folder / "f", true);
  BOOST_TEST(read.about["done"] == 2);
  BOOST_TEST((read.state.numbers == state.numbers));
  BOOST_TEST(read.state.tensors.size() == 2u);
  for (const auto& [name, tensor] : state.tensors) BOOST_TEST(identical(read.state.tensor(name), tensor));
}

// Every bit that matters: the length of the header, a place in it, the data.
BOOST_AUTO_TEST_CASE(any_damage_is_found_and_names_the_file) {
  const TempFolder folder;
  const auto size = [&] {
    write_snapshot_file(folder / "kept", state_of(3), {{"done", 2}, {"world_size", 2}});
    return static_cast<int64_t>(fs::file_size(folder / "kept"));
  };
  const int64_t bytes = size();
  for (int64_t place = 0; place < bytes; place += 5) {
    size();
    flip_bit(folder / "kept", place);
    bool harmless = false;  // a space behind the header
    try {
      const SnapshotFile read = read_snapshot_file(folder / "kept", true);
      harmless = identical(read.state.tensor("latents"), state_of(3).tensor("latents")) && read.about["done"] == 2 &&
                 read.about["world_size"] == 2 && read.state.numbers == state_of(3).numbers;
    } catch (const std::exception& error) {
      harmless = std::string(error.what()).find((folder / "kept").string()) != std::string::npos;
      BOOST_TEST(harmless, "byte " << place << ": " << error.what());
    }
    BOOST_TEST(harmless, "byte " << place);
  }
  size();
  fs::resize_file(folder / "kept", bytes - 1);
  expect_error({(folder / "kept").string()}, [&] { read_snapshot_file(folder / "kept", true); });
}

BOOST_AUTO_TEST_CASE(the_newest_whole_one_is_taken_and_damage_is_told) {
  const TempFolder temp;
  SnapshotFolder folder(temp / "s");
  BOOST_TEST(taken(folder).first == -1);
  write(folder, 3);
  write(folder, 12);
  BOOST_TEST((taken(folder) == std::pair<int64_t, std::string>{12, ""}));
  write(folder, 20, 0, /*keepers=*/2);  // its run ended before rank 1 had written
  BOOST_TEST((taken(folder) == std::pair<int64_t, std::string>{12, ""}));
  write(folder, 20, 1, 2);
  BOOST_TEST(taken(folder).first == 20);
  flip_bit(folder.rank_file(20, 1), static_cast<int64_t>(fs::file_size(folder.rank_file(20, 1))) - 1);
  const auto [done, told] = taken(folder);
  BOOST_TEST(done == 12);
  for (const auto& word : {folder.rank_file(20, 1).string(), std::string("damaged"), std::string("snapshot-00000012")})
    BOOST_TEST(told.find(word) != std::string::npos, told);
  for (const int64_t other : {3, 12}) fs::resize_file(folder.rank_file(other, 0), 100);
  expect_error({"no snapshot", "is whole", folder.rank_file(3, 0).string()}, [&] { taken(folder); });
}

BOOST_AUTO_TEST_CASE(latents_that_were_finished_belong_to_a_snapshot) {
  const TempFolder temp;
  SnapshotFolder folder(temp / "s");
  for (const size_t number : {0, 1}) write_snapshot_file(folder.finished_file(number), state_of(9), {{"done", 0}});
  write(folder, 3, 0, 1, 1);
  write(folder, 4, 0, 1, 2);
  fs::remove(folder.finished_file(1));
  const auto [done, told] = taken(folder);
  BOOST_TEST(done == 3);
  BOOST_TEST(told.find("00001.safetensors") != std::string::npos, told);
}

BOOST_AUTO_TEST_CASE(two_are_kept) {
  const TempFolder temp;
  SnapshotFolder folder(temp / "s");
  for (const int64_t done : {1, 2, 30, 4}) write(folder, done);
  write(folder, 40, 0, 2);  // under way
  folder.keep_newest();
  BOOST_TEST((folder.begun() == std::vector<int64_t>{40, 30, 4}));
}

BOOST_AUTO_TEST_CASE(a_folder_is_one_runs) {
  const TempFolder temp;
  SnapshotFolder folder(temp / "s");
  folder.hold();
  SnapshotFolder other(temp / "s");
  expect_error({(temp / "s").string(), "another run"}, [&] { other.hold(); });
}

BOOST_AUTO_TEST_CASE(a_run_keeps_what_it_finishes_and_goes_on) {
  const c10::InferenceMode inference;
  const TempFolder temp;
  const auto comm = lone_communicator();
  const at::Tensor first = randn({1, 4, 2, 2, 2}, 1), second = randn({1, 4, 1, 2, 2}, 2);
  const RunSnapshotsOptions options{.folder = temp / "s", .every_s = 0, .run = kRun};
  {
    RunSnapshots run(options, *comm, {});
    CollectingSink sink;
    const auto keeping = run.keeping(sink);
    for (const int64_t done : {1, 2, 3}) {
      if (done == 2) keeping->push(first);
      BOOST_TEST((run.decide(done) == SnapshotDecision::kKeep));
      run.save(done, 1, state_of(done));
    }
    keeping->push(second);  // after the last snapshot: made again by who goes on
    run.stop(3);
  }
  RunSnapshotsOptions resuming = options;
  resuming.resume = resuming.must_resume = true;
  {
    RunSnapshots run(resuming, *comm, {});
    BOOST_TEST(run.resumed()->done == 3);
    CollectingSink sink;
    const auto keeping = run.keeping(sink);
    BOOST_TEST(identical(sink.latents(), first));
    BOOST_TEST(identical(run.resumed()->frames({0, 3}, 0).tensor("latents"), state_of(3).tensor("latents")));
    expect_error({"another run"}, [&] { RunSnapshots(resuming, *comm, {}); });
    run.remove_all();
  }
  BOOST_TEST(!fs::exists(temp / "s"));
  expect_error({"--resume", "no snapshot"}, [&] { RunSnapshots(resuming, *comm, {}); });
}

BOOST_AUTO_TEST_CASE(differences_are_named_with_both_values) {
  const nlohmann::ordered_json kept{{"seed", 1}, {"flow_shift", 3.0}, {"image", {{"file", "a"}, {"contents", "x"}}}};
  nlohmann::ordered_json given = kept;
  given["image"]["file"] = "moved";
  check_same_run("s", kept, given);
  given["seed"] = 2;
  given["image"]["contents"] = "y";
  expect_error<UsageError>({"--resume s", "--seed: kept 1, given 2", "--image: kept a (contents x), given moved"},
                           [&] { check_same_run("s", kept, given); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
