// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace dualparal {

/// "45 s", "3 min 20 s", "1 h 05 min"
std::string duration_text(double seconds);

/// Progress of long work on standard error, with the time left: one line that renews itself on a terminal, a new
/// line now and then elsewhere. Nothing if quiet.
class Progress {
 public:
  Progress(std::string what, std::string unit, bool quiet);
  ~Progress();
  void update(int64_t done, int64_t total);
  /// Of work without an end: how much is done, and how fast.
  void count(int64_t done, const std::string& units);

 private:
  bool due(bool last);
  void show(const std::string& text);

  std::string what_, unit_;
  bool quiet_, terminal_, open_line_ = false;
  Stopwatch watch_;
  double last_shown_ = -1e9;
};

}  // namespace dualparal
