// SPDX-License-Identifier: Apache-2.0
#include "base/files.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "tests/testing.h"

namespace dualparal::testing {
BOOST_AUTO_TEST_SUITE(runtime_files)

BOOST_AUTO_TEST_CASE(a_pending_file_appears_complete_when_committed) {
  const TempFolder folder;
  const fs::path target = folder / "new/folders/result.json";
  {
    PendingFile file(target);
    BOOST_TEST(file.path().extension() == ".json");
    std::ofstream(file.path()) << "all of it";
    BOOST_TEST(!fs::exists(target));
    file.commit();
  }
  BOOST_TEST(read_file(target) == "all of it");
  BOOST_TEST(std::distance(fs::directory_iterator(target.parent_path()), {}) == 1);
}

BOOST_AUTO_TEST_CASE(a_pending_file_never_committed_leaves_what_was_there) {
  const TempFolder folder;
  write_file(folder / "kept.txt", "old");
  {
    PendingFile file(folder / "kept.txt");
    std::ofstream(file.path()) << "half of the n";
  }
  BOOST_TEST(read_file(folder / "kept.txt") == "old");
  BOOST_TEST(folder.list() == std::vector<std::string>{"kept.txt"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_killed_processes_left_is_removed_and_what_others_write_is_not) {
  const TempFolder folder;
  const pid_t zombie = fork();
  if (zombie == 0) _exit(0);
  siginfo_t ended;
  BOOST_REQUIRE(waitid(P_PID, static_cast<id_t>(zombie), &ended, WEXITED | WNOWAIT) == 0);  // not reaped yet
  fs::create_directories(folder / "videos");
  const std::string alive = fmt::format(".a.{}.partial.mp4", getpid());
  for (const std::string& name :
       {alive, fmt::format(".b.{}.partial.mp4", zombie), std::string(".c.999999999.partial.json"),
        std::string("d.999999999.partial.mp4"), std::string(".e.mp4")})
    std::ofstream(folder / "videos" / name) << "half";
  remove_abandoned_files(folder / "");
  waitpid(zombie, nullptr, 0);
  std::vector<std::string> left;
  for (const auto& file : fs::directory_iterator(folder / "videos")) left.push_back(file.path().filename().string());
  std::ranges::sort(left);
  const std::vector<std::string> expected{alive, ".e.mp4", "d.999999999.partial.mp4"};
  BOOST_TEST(left == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_file_is_replaced_whole) {
  const TempFolder folder;
  const std::string binary("\0\r\n\xff", 4);
  write_file(folder / "file", std::string(100000, 'x'));
  write_file(folder / "file", binary);
  BOOST_TEST(read_file(folder / "file") == binary);
}

BOOST_AUTO_TEST_CASE(paths_that_cannot_be_written_are_named) {
  const TempFolder folder;
  write_file(folder / "plain", "");
  fs::create_directory(folder / "sub");
  expect_error({"plain", "cannot make the folder"}, [&] { write_file(folder / "plain/below.txt", "x"); });
  expect_error({"sub", "this is a folder"}, [&] { write_file(folder / "sub", "x"); });
  expect_error({"sub", "cannot append"}, [&] { append_line(folder / "sub", "x"); });
  expect_error({"/dev/full", "No space left"}, [&] { append_line("/dev/full", "x"); });
  expect_error({"missing.txt", "No such file"}, [&] { read_file(folder / "missing.txt"); });
  expect_error({"sub", "folder"}, [&] { read_file(folder / "sub"); });
  expect_error({"never", "cannot write"}, [&] { PendingFile(folder / "never").commit(); });
}

BOOST_AUTO_TEST_CASE(lines_of_many_writers_stay_whole) {
  const TempFolder folder;
  const fs::path file = folder / "results/lines.jsonl";
  constexpr int kWriters = 4, kLines = 8;
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer)
    writers.emplace_back([&, writer] {
      for (int i = 0; i < kLines; ++i) append_line(file, std::string(5000, static_cast<char>('a' + writer)));
    });
  for (auto& writer : writers) writer.join();
  std::ifstream in(file);
  int lines = 0;
  for (std::string line; std::getline(in, line); ++lines) BOOST_TEST(line == std::string(5000, line.at(0)));
  BOOST_TEST(lines == kWriters * kLines);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
