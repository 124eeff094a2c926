// SPDX-License-Identifier: Apache-2.0
#include "harness/snapshots/snapshot_writer.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <utility>

namespace dualparal {

SnapshotWriter::SnapshotWriter() : thread_([this] { work(); }) {}

SnapshotWriter::~SnapshotWriter() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void SnapshotWriter::add(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  if (failure_) return;  // what comes later needs what came before
  tasks_.push_back(std::move(task));
  changed_.notify_all();
}

bool SnapshotWriter::busy() {
  const std::lock_guard lock(mutex_);
  return working_ || !tasks_.empty();
}

void SnapshotWriter::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return (!working_ && tasks_.empty()) || failure_; });
  if (failure_) std::rethrow_exception(failure_);
}

void SnapshotWriter::work() {
  const c10::InferenceMode inference;
  at::set_num_threads(1);  // the others are the run's
  for (;;) {
    std::function<void()> task;
    {
      std::unique_lock lock(mutex_);
      working_ = false;
      changed_.notify_all();
      changed_.wait(lock, [this] { return closed_ || !tasks_.empty(); });
      if (closed_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
      working_ = true;
    }
    try {
      task();
    } catch (...) {
      const std::lock_guard lock(mutex_);
      failure_ = std::current_exception();
      tasks_.clear();
    }
  }
}

}  // namespace dualparal
