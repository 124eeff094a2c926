// SPDX-License-Identifier: Apache-2.0
#include "strategy/snapshot/snapshots.h"

#include "strategy/strategy.h"

namespace dualparal {

void Strategy::check_snapshots(const Workload&, std::optional<int64_t>) const {
  throw UsageError("--snapshot: this strategy does not say what it would keep of a run");
}

Snapshots& no_snapshots() {
  static Snapshots none;
  return none;
}

namespace {

constexpr int64_t kRemembered = 10'000;  // iterations

}  // namespace

void SnapshotAgenda::ask_until(int64_t done) {
  if (!snapshots_.active()) return;
  while (asked_ < std::min(done, total_ - 1)) {
    const SnapshotDecision decision = snapshots_.decide(++asked_);
    if (decision != SnapshotDecision::kNone) kept_[asked_] = decision;
    if (decision == SnapshotDecision::kKeepAndStop) stop_ = std::min(stop_, asked_);
  }
  // Of a long run. What comes of an iteration comes so many later as a pipeline has stages, twice.
  kept_.erase(kept_.begin(), kept_.lower_bound(done - kRemembered));
}

SnapshotDecision SnapshotAgenda::after(int64_t done) const {
  const auto found = kept_.find(done);
  return found == kept_.end() ? SnapshotDecision::kNone : found->second;
}

}  // namespace dualparal
