// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>

#include <fmt/format.h>
#include "harness/cli/command.h"

namespace dualparal {

void prepare_standard_streams() {
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number)
    if (fcntl(number, F_GETFD) < 0 && errno == EBADF)
      // The lowest free number is this one.
      static_cast<void>(open("/dev/null", number == STDIN_FILENO ? O_RDONLY : O_WRONLY));
  std::signal(SIGXFSZ, SIG_IGN);
}

int finish_standard_output(int code) {
  errno = 0;
  std::cout.flush();
  const bool flushed = std::fflush(stdout) == 0;
  const int reason = errno;
  if (flushed && std::cout.good() && std::ferror(stdout) == 0) return code;
  const int reported = report_error(
      fmt::format("cannot write to standard output{}{}", reason ? ": " : "", reason ? std::strerror(reason) : ""), 1);
  return code == 0 ? reported : code;
}

}  // namespace dualparal
