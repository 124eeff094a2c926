// SPDX-License-Identifier: Apache-2.0
// Finds the first cause when something fails among ranks, and ends all of them.
//
// A thread of every rank tells the store, a few times a second, that the rank lives and what it is doing, and looks for
// a failure that another rank has written there. The first failure written is the one that everybody reports.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "comm/recorder.h"

namespace dualparal {

/// What a rank last said of itself.
struct Heartbeat {
  int64_t count = 0;
  int64_t waiting_for = -1;  ///< a rank, or -1
  std::string activity;
};
/// Nothing if the rank has never said anything.
std::optional<Heartbeat> read_heartbeat(c10d::Store& store, int64_t rank);

/// Writes a failure unless there is one already. Returns the one that came first.
std::string report_failure(c10d::Store& store, const std::string& failure);
std::optional<std::string> read_failure(c10d::Store& store);
/// How the failure of a rank begins that others have only stopped hearing of.
std::string lost_rank(int64_t rank);

class FaultMonitor {
 public:
  /// `store`: a connection of its own. `end`: called from the monitor's thread with another rank's failure, or when the
  /// store is lost; it must end the process (end_process()), or, in tests, note it. A rank that says nothing for
  /// `silence`, and has not said farewell, is such a failure, too, whether others wait for it or not.
  FaultMonitor(c10::intrusive_ptr<c10d::Store> store, int64_t rank, int64_t world_size, const Recorder& recorder,
               std::function<void(const std::string& failure)> end,
               std::chrono::milliseconds silence = std::chrono::minutes(1));
  ~FaultMonitor();

  /// The failure to report for an exception of this rank: its own, or the cause of which it is a symptom.
  std::string explain(const std::exception& error);
  /// Tells the others that this rank has read why it ends, or needs the store no more. wait_for_others: until all have,
  /// but for those that do not run any more.
  void say_farewell(bool wait_for_others);

 private:
  void watch();
  struct Silence {
    int64_t count = -1, looks = 0;
  };
  std::optional<std::string> silent_rank();
  std::string store_lost() const;
  std::string find_cause(int64_t peer, const std::string& own);
  std::vector<std::optional<Heartbeat>> heartbeats();

  c10::intrusive_ptr<c10d::Store> store_;
  int64_t rank_, world_size_;
  const Recorder& recorder_;
  std::function<void(const std::string&)> end_;
  int64_t beats_between_looks_;
  std::map<int64_t, Silence> silences_;
  std::atomic<bool> stop_{false}, explaining_{false};
  std::thread thread_;
};

/// Prints "error: <failure>" on standard error, removes unfinished files, and ends this process with exit code 1.
[[noreturn]] void end_process(const std::string& failure);

/// From now on SIGINT, SIGTERM and SIGHUP end the process through its monitor, which leaves no unfinished files, and
/// SIGPIPE is ignored.
void catch_signals();

}  // namespace dualparal
