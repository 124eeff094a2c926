// SPDX-License-Identifier: Apache-2.0
#include "harness/plan/search.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <map>

#include "base/errors.h"

namespace dualparal {
namespace {

// A child's verdict, in a file of the memory.
struct Child {
  size_t candidate = 0;
  int file = -1;
};

[[noreturn]] void judge(const PlanTask& task, const Candidate& candidate, double to_beat, int file) {
  int code = 1;
  try {
    const std::string text = evaluate(task, candidate, to_beat).to_text();
    size_t done = 0;
    for (ssize_t count = 0; done < text.size() && count >= 0; done += static_cast<size_t>(std::max<ssize_t>(count, 0)))
      count = write(file, text.data() + done, text.size() - done);
    code = done == text.size() ? 0 : 1;
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

class Search {
 public:
  Search(const PlanTask& task, const std::vector<Candidate>& all) : task_(task) {
    for (const Candidate& one : all) judged_.push_back({one, {}});
  }

  std::vector<Judged> run(int64_t jobs, const std::function<void(int64_t)>& progress) {
    size_t next = 0;
    int64_t done = 0;
    while (next < judged_.size() || !children_.empty()) {
      while (next < judged_.size() && static_cast<int64_t>(children_.size()) < jobs) start(next++);
      take_one();
      progress(++done);
    }
    return std::move(judged_);
  }

 private:
  void start(size_t candidate) {
    Child child{candidate, memfd_create("verdict", MFD_CLOEXEC)};
    check(child.file >= 0, "plan: no file for a verdict: {}", std::strerror(errno));
    const Candidate& one = judged_[candidate].candidate;
    std::fflush(nullptr);  // or what is buffered would be the child's, too
    const pid_t pid = fork();
    check(pid >= 0, "plan: {}", std::strerror(errno));
    if (pid == 0) judge(task_, one, one.exact ? exact_ : any_, child.file);
    children_[pid] = child;
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
    Judged& judged = judged_[child.candidate];
    check(
        WIFEXITED(status) && WEXITSTATUS(status) == 0, "plan: {}: its process ended without a verdict ({})",
        judged.candidate.flags(),
        WIFSIGNALED(status) ? fmt::format("signal {}", WTERMSIG(status)) : fmt::format("exit {}", WEXITSTATUS(status)));
    judged.verdict = Verdict::from_text(text);
    if (judged.verdict.kind != Verdict::Kind::kSimulated) return;
    any_ = std::min(any_, judged.verdict.seconds);
    if (judged.candidate.exact) exact_ = std::min(exact_, judged.verdict.seconds);
  }

  const PlanTask& task_;
  std::vector<Judged> judged_;
  std::map<pid_t, Child> children_;
  double any_ = std::numeric_limits<double>::infinity(), exact_ = any_;
};

}  // namespace

std::vector<Judged> search(const PlanTask& task, const std::vector<Candidate>& all, int64_t jobs,
                           const std::function<void(int64_t)>& progress) {
  return Search(task, all).run(jobs, progress);
}

}  // namespace dualparal
