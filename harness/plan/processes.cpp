// SPDX-License-Identifier: Apache-2.0
#include "harness/plan/processes.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "base/errors.h"
#include "base/write_all.h"

namespace dualparal {
namespace {

// Its text comes in a file of the memory.
struct Child {
  size_t piece = 0;
  int file = -1;
};

[[noreturn]] void do_piece(const Pieces& pieces, const Child& child) {
  int code = 1;
  try {
    const std::string text = pieces.work(child.piece);
    code = write_all(child.file, text.data(), text.size()) == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::fputs(fmt::format("error: {}\n", error.what()).c_str(), stderr);
  }
  _exit(code);
}

std::string content(int file) {
  std::string text(static_cast<size_t>(std::max<off_t>(lseek(file, 0, SEEK_END), 0)), '\0');
  const ssize_t count = pread(file, text.data(), text.size(), 0);
  text.resize(static_cast<size_t>(std::max<ssize_t>(count, 0)));
  return text;
}

class Children {
 public:
  explicit Children(const Pieces& pieces) : pieces_(pieces) {}

  void run(int64_t jobs) {
    for (bool more = true; more || !children_.empty();) {
      while (more && static_cast<int64_t>(children_.size()) < jobs) more = start();
      if (!children_.empty()) take_one();
    }
  }

 private:
  bool start() {
    const std::optional<size_t> piece = pieces_.next();
    if (!piece) return false;
    const Child child{*piece, memfd_create("found", MFD_CLOEXEC)};
    check(child.file >= 0, "plan: no file for a verdict: {}", std::strerror(errno));
    std::fflush(nullptr);  // or what is buffered would be the child's, too
    const pid_t pid = fork();
    check(pid >= 0, "plan: {}", std::strerror(errno));
    if (pid == 0) do_piece(pieces_, child);
    children_[pid] = child;
    return true;
  }

  void take_one() {
    int status = 0;
    pid_t pid = 0;
    do pid = waitpid(-1, &status, 0);
    while (pid < 0 && errno == EINTR);
    const Child child = children_.at(pid);
    children_.erase(pid);
    const std::string text = content(child.file);
    close(child.file);
    check(
        WIFEXITED(status) && WEXITSTATUS(status) == 0, "plan: {}: its process ended without a verdict ({})",
        pieces_.name(child.piece),
        WIFSIGNALED(status) ? fmt::format("signal {}", WTERMSIG(status)) : fmt::format("exit {}", WEXITSTATUS(status)));
    pieces_.found(child.piece, text);
  }

  const Pieces& pieces_;
  std::map<pid_t, Child> children_;
};

}  // namespace

void in_processes(int64_t jobs, const Pieces& pieces) { Children(pieces).run(jobs); }

}  // namespace dualparal
