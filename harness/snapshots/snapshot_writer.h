// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace dualparal {

/// Does one thing after the other in a thread of its own, beside the run. What fails is told by the next call.
class SnapshotWriter {
 public:
  SnapshotWriter();
  /// Waits for what is under way; what has not begun is left out.
  ~SnapshotWriter();
  SnapshotWriter(const SnapshotWriter&) = delete;
  SnapshotWriter& operator=(const SnapshotWriter&) = delete;

  void add(std::function<void()> task);
  bool busy();
  /// Until all is done. Throws what went wrong, once.
  void finish();

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool working_ = false, closed_ = false;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace dualparal
