// SPDX-License-Identifier: Apache-2.0
// Links, pipes and devices as targets, files that cannot be read on, and disks that are full.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/files.h"
#include "model/checkpoint/safetensors.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

// No file of this process may become larger, as on a full disk.
class SizeLimit {
 public:
  explicit SizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

}  // namespace

BOOST_AUTO_TEST_SUITE(base_special_files)

BOOST_AUTO_TEST_CASE(a_link_is_followed_and_stays) {
  const TempFolder folder;
  fs::create_directory(folder / "there");
  fs::create_symlink("there/file.txt", folder / "new");  // to what is not there yet
  write_file(folder / "new", "first");
  BOOST_TEST(fs::is_symlink(folder / "new"));
  BOOST_TEST(read_file(folder / "there/file.txt") == "first");
  fs::create_symlink(folder / "new", folder / "link");
  write_safetensors(folder / "link", {{"a", at::ones({2})}});
  BOOST_TEST(fs::is_symlink(folder / "link"));
  BOOST_TEST(fs::is_symlink(folder / "new"));
  BOOST_TEST(identical(read_tensor(folder / "there/file.txt", "a", {2}), at::ones({2})));
  BOOST_TEST(std::distance(fs::directory_iterator(folder / "there"), {}) == 1);
  fs::create_symlink("round", folder / "round");
  BOOST_CHECK_THROW(write_file(folder / "round", "x"), Error);
}

BOOST_AUTO_TEST_CASE(devices_and_pipes_are_written_to_and_stay) {
  const TempFolder folder;
  fs::create_symlink("/dev/null", folder / "null");
  write_file(folder / "null", "gone");
  BOOST_TEST(fs::is_character_file(folder / "null"));
  expect_error({"/dev/full", "No space left"}, [] { write_file("/dev/full", "x"); });
  BOOST_TEST(fs::is_character_file("/dev/full"));

  const fs::path pipe = folder / "pipe";
  BOOST_REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  const int reader = open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  write_file(pipe, "through");
  char text[16] = "";
  BOOST_TEST(read(reader, text, sizeof text) == 7);
  BOOST_TEST(std::string(text) == "through");
  close(reader);
  BOOST_TEST(fs::is_fifo(pipe));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_put_in_a_devices_place_is_refused) {
  const TempFolder folder;
  const fs::path pipe = folder / "pipe";
  BOOST_REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  expect_error({pipe.string(), "a pipe"}, [&] { write_safetensors(pipe, {{"a", at::ones({2})}}); });
  BOOST_TEST(fs::is_fifo(pipe));
  expect_error({"/dev/full", "a device"}, [] { PendingFile("/dev/full"); });
}

BOOST_AUTO_TEST_CASE(a_pipe_is_no_input) {
  const TempFolder folder;
  const fs::path pipe = folder / "pipe";
  BOOST_REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);  // nobody writes: open() would wait
  expect_error({pipe.string(), "a pipe"}, [&] { read_file(pipe); });
  expect_error({pipe.string(), "a pipe"}, [&] { SafetensorsFile::open(pipe); });
}

BOOST_AUTO_TEST_CASE(a_read_error_is_not_the_end_of_a_file) {
  // The first page of a process is never mapped: a file whose reading fails.
  expect_error({"/proc/self/mem", "cannot read", "Input/output"}, [] { read_file("/proc/self/mem"); });
}

BOOST_AUTO_TEST_CASE(a_line_that_does_not_fit_is_taken_back) {
  const TempFolder folder;
  const fs::path file = folder / "lines.jsonl";
  append_line(file, "first");
  {
    const SizeLimit full(100);
    expect_error({file.string(), "cannot append", "File too large"}, [&] { append_line(file, std::string(500, 'x')); });
    BOOST_TEST(read_file(file) == "first\n");
    expect_error({"cannot write", "File too large"}, [&] { write_file(folder / "big", std::string(500, 'x')); });
    expect_error({"cannot write", "File too large"}, [&] {
      write_safetensors(folder / "big", {{"a", at::ones({500})}});
    });
  }
  append_line(file, "second");
  BOOST_TEST(read_file(file) == "first\nsecond\n");
  BOOST_TEST(folder.list().size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_line_does_not_join_one_that_was_cut_off) {
  const TempFolder folder;
  const fs::path file = folder / "lines.jsonl";
  std::ofstream(file) << "whole\n{\"cut o";
  append_line(file, "next");
  BOOST_TEST(read_file(file) == "whole\n{\"cut o\nnext\n");
}

BOOST_AUTO_TEST_CASE(what_a_killed_process_left_beside_a_target_is_removed) {
  const TempFolder folder;
  for (const char* name : {".v.999999999.partial.mp4", ".other.999999999.partial.mp4", ".v.999999999.partial.json"})
    std::ofstream(folder / name) << "half";
  std::ofstream(folder / fmt::format(".v.{}.partial.mp4", getpid())) << "half";
  remove_abandoned_beside(folder / "v.mp4");
  BOOST_TEST(!fs::exists(folder / ".v.999999999.partial.mp4"));
  BOOST_TEST(folder.list().size() == 3u);
  remove_abandoned_beside(folder / "nowhere/v.mp4");
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
