// SPDX-License-Identifier: Apache-2.0
// Snapshots of a run in files. Rank 0 decides after which iterations state is kept: by the clock, or since a signal
// came to any rank; the others read its decisions in the store where the ranks met.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "base/clock.h"
#include "comm/communicator.h"
#include "harness/snapshots/snapshot_folder.h"
#include "harness/snapshots/snapshot_writer.h"
#include "strategy/denoise/latents_sink.h"
#include "strategy/snapshot/snapshots.h"

namespace dualparal {

struct RunSnapshotsOptions {
  std::filesystem::path folder;        ///< empty: nothing is kept, the run only stops when it is told to
  double every_s = 60;                 ///< 0: after every iteration
  bool resume = false;                 ///< go on from the newest snapshot in the folder
  bool must_resume = false;            ///< ... and fail if there is none
  nlohmann::ordered_json run;          ///< what a run that resumes this one must agree with (resume_check.h)
  std::chrono::seconds timeout{1800};  ///< for a decision
  bool endless = false;                ///< the run ends by being told to stop: ranks without work wait as long
};

class RunSnapshots final : public Snapshots {
 public:
  /// All ranks make theirs together. store: null if there is one rank. Rank 0 takes the folder. Error without a whole
  /// snapshot to resume.
  RunSnapshots(RunSnapshotsOptions options, Communicator& comm, c10::intrusive_ptr<c10d::Store> store);

  /// Rank 0, before denoising: hands what was finished before to `sink`, and returns a sink that keeps what is finished
  /// from now on and hands it on to `sink`, which must outlive it.
  std::unique_ptr<LatentsSink> keeping(LatentsSink& sink);

  bool active() const override { return true; }
  const SavedRun* resumed() const override { return resumed_ ? &resumed_->run : nullptr; }
  SnapshotDecision decide(int64_t done) override;
  void save(int64_t done, int64_t keepers, RunState state) override;
  void ended() override;

  /// After RunStopped: tells the ranks that have nothing to do any more, waits until the state is written. Error if it
  /// cannot be.
  void stop(int64_t done);
  /// Rank 0, when the video is there: removes the snapshots, and the folder if nothing else is in it.
  void remove_all();

 private:
  class KeepingSink;

  bool keeps() const { return !options_.folder.empty(); }
  void open_folder();
  bool wished();
  void tell_failure();
  nlohmann::ordered_json about(int64_t done, int64_t keepers) const;

  RunSnapshotsOptions options_;
  SnapshotFolder folder_;
  int64_t rank_, world_size_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::optional<ReadSnapshot> resumed_;
  Stopwatch since_last_;
  size_t finished_ = 0;  // pieces handed over, on rank 0
  bool begun_ = false, stopping_ = false, failed_ = false;
  SnapshotWriter writer_;
};

}  // namespace dualparal
