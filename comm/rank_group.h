// SPDX-License-Identifier: Apache-2.0
// This process as one of several ranks: met, watched, and left again together.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/fault_monitor.h"
#include "comm/recorder.h"
#include "comm/rendezvous.h"

namespace dualparal {

struct RankGroupOptions {
  std::chrono::milliseconds timeout{60'000};
  std::string backend = "gloo";  ///< or "nccl"
  at::Device device = at::kCPU;  ///< that this rank computes on
};

class RankGroup {
 public:
  /// Meets the other ranks: returns when all have joined. Without an environment, this process is alone.
  /// Ends the process with an error that names the ranks that have not joined in time.
  RankGroup(const std::optional<RankEnvironment>& environment, const RankGroupOptions& options, Recorder& recorder);
  /// Leaves. Rank 0 waits for the others if it holds the store.
  ~RankGroup();

  Communicator& comm() { return *comm_; }
  int64_t rank() const { return comm_->rank(); }
  int64_t world_size() const { return comm_->world_size(); }
  /// Some of them, this one among them, in this order (part_communicator()); all of them are comm(). name: another for
  /// each set of ranks. It lives as long as the group.
  Communicator& part(const std::string& name, const std::vector<int64_t>& ranks);
  /// Where the ranks met; null if there is one rank.
  const c10::intrusive_ptr<c10d::Store>& store() const { return store_; }
  /// The failure to report for an exception: see FaultMonitor::explain().
  std::string explain(const std::exception& error);
  /// Ends this process with `failure`. The rank that holds the store keeps it until the others have read why.
  [[noreturn]] void end(const std::string& failure);

 private:
  enum class State { kRunning, kLeaving, kFailing };

  bool holds_store() const { return environment_.rank == 0 && !environment_.hosted; }
  void wait_for_all();
  bool turn_to(State next);
  [[noreturn]] void end_now(const std::string& failure);

  RankEnvironment environment_;
  RankGroupOptions options_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::atomic<bool> watched_{false};  // monitor_ is there: its thread starts before that
  std::atomic<State> state_{State::kRunning};
  std::unique_ptr<FaultMonitor> monitor_;
  std::unique_ptr<Communicator> comm_;
  std::vector<std::unique_ptr<Communicator>> parts_;
};

}  // namespace dualparal
