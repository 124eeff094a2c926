// SPDX-License-Identifier: Apache-2.0
#include "base/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/errors.h"
#include "base/files.h"

namespace dualparal {
namespace {

volatile std::sig_atomic_t write_end = -1;  // of the pipe by which the handler, which may do little, tells the watcher

void tell_watcher(int signal) {
  const int reason = errno;
  const char byte = static_cast<char>(signal);
  [[maybe_unused]] const ssize_t written = write(write_end, &byte, 1);
  errno = reason;
}

}  // namespace

OnInterrupt::OnInterrupt(std::function<std::string()> message) {
  const int no_pipe = pipe2(ends_, O_CLOEXEC) == 0 ? 0 : errno;
  check(no_pipe == 0, "cannot watch for signals: {}", std::strerror(no_pipe));
  write_end = ends_[1];
  watcher_ = std::thread([message = std::move(message), end = ends_[0]] {
    char signal = 0;
    while (read(end, &signal, 1) < 0 && errno == EINTR) {
    }
    if (signal == 0) return;  // the destructor
    std::signal(signal, SIG_DFL);
    remove_pending_files();
    std::fputs(("\n# stopped: " + message() + "\n").c_str(), stderr);
    std::fflush(stderr);
    kill(getpid(), signal);
  });
  struct sigaction action {};
  action.sa_handler = tell_watcher;
  action.sa_flags = SA_RESTART;
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    sigaction(kSignals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN) sigaction(kSignals[i], &action, nullptr);
  }
}

OnInterrupt::~OnInterrupt() {
  for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  tell_watcher(0);
  watcher_.join();
  write_end = -1;
  for (const int end : ends_) close(end);
}

}  // namespace dualparal
