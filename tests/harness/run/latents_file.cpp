// SPDX-License-Identifier: Apache-2.0
#include "harness/run/latents_file.h"

#include <optional>

#include "base/files.h"
#include "model/checkpoint/safetensors.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

at::Tensor piece(int64_t frames, uint64_t seed) { return randn({1, 4, frames, 2, 3}, seed); }

BOOST_AUTO_TEST_SUITE(harness_latents_file)

BOOST_AUTO_TEST_CASE(two_runs_with_one_path_do_not_mix) {
  const TempFolder folder;
  const fs::path path = folder / "l.safetensors";
  const at::Tensor first = piece(2, 1), second = piece(3, 2);
  {
    LatentsFile file(path);
    file.push(first);
    expect_error({path.string(), "another run", "--save-latents"}, [&] { LatentsFile other(path); });
    file.push(second);  // whatever the other one did
    file.finish();
  }
  BOOST_TEST(identical(read_tensor(path, "latents", {1, 4, 5, 2, 3}), at::cat({first, second}, 2)));
  BOOST_TEST(folder.list().size() == 1u);
  BOOST_CHECK_NO_THROW(LatentsFile next(path));  // the path is free again
  BOOST_TEST(folder.list().size() == 1u);
}

BOOST_AUTO_TEST_CASE(pieces_of_a_run_that_ended_early_stay_until_the_next_has_some) {
  const TempFolder folder;
  const fs::path path = folder / "l.safetensors", left = folder / "l.safetensors.partial/00001.safetensors";
  {
    LatentsFile file(path);
    file.push(piece(2, 1));
    file.push(piece(2, 2));
  }
  BOOST_TEST(fs::exists(left));
  std::optional<LatentsFile> next(path);
  BOOST_TEST(fs::exists(left));
  next->push(piece(2, 3));
  BOOST_TEST(!fs::exists(left));
}

BOOST_AUTO_TEST_CASE(a_folder_without_pieces_goes_when_a_process_is_ended) {
  const TempFolder folder;
  LatentsFile empty(folder / "a"), begun(folder / "b");
  begun.push(piece(1, 1));
  remove_pending_files();
  BOOST_TEST(folder.list() == std::vector<std::string>{"b.partial"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_folder_that_goes_while_a_run_writes_is_named) {
  const TempFolder folder;
  const std::string partial = (folder / "l.safetensors.partial").string();
  for (const int pieces : {0, 1}) {
    LatentsFile file(folder / "l.safetensors");
    for (int i = 0; i < pieces; ++i) file.push(piece(2, 1));
    fs::remove_all(partial);
    expect_error({partial, "was removed or replaced"}, [&] { file.push(piece(2, 2)); });
    fs::create_directories(partial);  // another one, without the pieces
    expect_error({partial, "was removed or replaced"}, [&] { file.finish(); });
  }
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
