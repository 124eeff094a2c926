// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>
#include <functional>
#include <string>
#include <thread>

namespace dualparal {

/// While one lives (one at a time), Ctrl-C (SIGINT), SIGTERM and SIGHUP end the process in order: half-written files
/// are removed, `message()` is told on standard error, and the process ends by the signal. message() runs in a thread
/// of its own beside whatever the program does. A signal that the process was started to ignore stays ignored.
class OnInterrupt {
 public:
  explicit OnInterrupt(std::function<std::string()> message);
  ~OnInterrupt();
  OnInterrupt(const OnInterrupt&) = delete;
  OnInterrupt& operator=(const OnInterrupt&) = delete;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};

  int ends_[2];
  struct sigaction before_[std::size(kSignals)];
  std::thread watcher_;
};

}  // namespace dualparal
