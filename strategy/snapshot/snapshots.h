// SPDX-License-Identifier: Apache-2.0
// Snapshots of a run, as strategies see them: whether state is kept after an iteration, where it is handed over, and
// what a resumed run goes on from. Files, clocks and signals are the harness's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>

#include "base/errors.h"
#include "strategy/snapshot/run_state.h"

namespace dualparal {

/// What is done about the state after an iteration.
enum class SnapshotDecision { kNone, kKeep, kKeepAndStop };

/// The run was told to stop, and has kept its state. No failure.
class RunStopped : public Error {
 public:
  explicit RunStopped(int64_t done, const std::string& message = "the run was told to stop")
      : Error(message), done_(done) {}
  /// Iterations after which it stopped; less than 0: none had begun.
  int64_t done() const { return done_; }

 private:
  int64_t done_;
};

/// This one keeps nothing.
class Snapshots {
 public:
  virtual ~Snapshots() = default;
  /// Whether anything is ever kept.
  virtual bool active() const { return false; }
  /// What the run goes on from; null: it begins at its start. Outlives the run.
  virtual const SavedRun* resumed() const { return nullptr; }
  /// What happens after `done` iterations: the same answer on every rank. A rank asks for rising numbers, once for
  /// each, and leaves none out.
  virtual SnapshotDecision decide(int64_t done) { return SnapshotDecision::kNone; }
  /// This rank's state after `done` iterations, of which it was decided to keep it; the first `keepers` ranks call it.
  /// Returns before the state is written.
  virtual void save(int64_t done, int64_t keepers, RunState state) {}
  /// This rank's part of the run is over. RunStopped if the others have stopped before the end.
  virtual void ended() {}
};

Snapshots& no_snapshots();

/// A rank's questions of a run of `total` iterations that begins with iteration `first`: each is asked once, in order.
class SnapshotAgenda {
 public:
  SnapshotAgenda(Snapshots& snapshots, int64_t first, int64_t total)
      : snapshots_(snapshots), asked_(first), total_(total), stop_(total) {}

  /// Asks for all up to `done` that were not asked yet. After the last iteration there is nothing to keep.
  void ask_until(int64_t done);
  /// The answer for iterations that were asked.
  SnapshotDecision after(int64_t done) const;
  /// So many iterations are taken at least, as far as is known: one more than was asked for, unless the run stops.
  int64_t certain() const { return snapshots_.active() ? std::min(asked_ + 1, stop_) : total_; }

 private:
  Snapshots& snapshots_;
  int64_t asked_, total_, stop_;
  std::map<int64_t, SnapshotDecision> kept_;  // but for kNone
};

}  // namespace dualparal
