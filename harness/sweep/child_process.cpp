// SPDX-License-Identifier: Apache-2.0
#include "harness/sweep/child_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "base/errors.h"

namespace dualparal {
namespace {

constexpr std::string_view kErrorPrefix = "error: ";

[[noreturn]] void become(const std::vector<std::string>& arguments, int error_pipe, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // the parent died in between
  signal(SIGINT, SIG_IGN);            // Ctrl-C is for the parent, which says what is kept; with it, this process ends
  dup2(error_pipe, STDERR_FILENO);
  const int null = open("/dev/null", O_WRONLY);
  dup2(null, STDOUT_FILENO);
  std::vector<char*> argv;
  static char self[] = "/proc/self/exe";
  argv.push_back(self);
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(self, argv.data());
  // Arguments that are too long, for instance.
  dprintf(STDERR_FILENO, "error: cannot start: %s\n", strerrordesc_np(errno));
  _exit(127);
}

}  // namespace

ChildResult run_self(const std::vector<std::string>& arguments, bool quiet) {
  int ends[2];
  const int no_pipe = pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno;
  check(no_pipe == 0, "cannot start a process: {}", std::strerror(no_pipe));
  const pid_t parent = getpid();
  const pid_t child = fork();
  const int not_forked = errno;
  check(child >= 0, "cannot start a process: {}", std::strerror(not_forked));
  if (child == 0) become(arguments, ends[1], parent);
  close(ends[1]);

  ChildResult result;
  std::string line;
  char buffer[4096];
  for (;;) {
    const ssize_t count = read(ends[0], buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    if (!quiet && write(STDERR_FILENO, buffer, static_cast<size_t>(count)) < 0) quiet = true;
    for (ssize_t i = 0; i < count; ++i) {
      if (buffer[i] != '\n') {
        line += buffer[i];
        continue;
      }
      if (line.starts_with(kErrorPrefix)) result.error = line.substr(kErrorPrefix.size());
      line.clear();
    }
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    result.exit_code = 128 + signal;
    result.error = fmt::format("killed by signal {} ({}){}", signal, strsignal(signal),
                               signal == SIGKILL ? ": out of memory?" : "");
  } else {
    result.exit_code = WEXITSTATUS(status);
    if (result.exit_code != 0 && result.error.empty())
      result.error = fmt::format("ended with exit code {} and said nothing", result.exit_code);
  }
  return result;
}

}  // namespace dualparal
