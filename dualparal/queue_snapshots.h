// SPDX-License-Identifier: Apache-2.0
// Snapshots of the queue between two iterations, without stopping the pipeline: each block is noted when its last step
// before has been applied, while others are on their way already; and what every rank's caches hold for the iteration
// after.
#pragma once

#include <deque>
#include <map>
#include <optional>

#include "dualparal/block_queue.h"
#include "dualparal/feature_cache.h"
#include "strategy/denoise/denoiser.h"
#include "strategy/strategy.h"

namespace dualparal {

class QueueSnapshots {
 public:
  /// The context must outlive it. cached: what this rank keeps of keys and values from one iteration to the next; none:
  /// no rank does.
  QueueSnapshots(const DenoiseContext& context, const QueueOrder& order, std::optional<CachePart> cached);

  /// The place in the order that the run begins with, or goes on with.
  int64_t first() const { return first_; }
  /// Puts back what was kept: the queue, which may be null on ranks without it, and the caches, by micro-batch.
  void restore(BlockQueue* queue, std::deque<FeatureCache>& caches, const Denoiser& denoiser) const;

  /// Whether the run ends before this iteration.
  bool stops_before(int64_t iteration) const { return agenda_.after(iteration) == SnapshotDecision::kKeepAndStop; }
  /// Before the first entry of an iteration: the place behind the entries that are certain to be taken.
  int64_t certain_at(int64_t iteration);
  /// The entry at this place has gone through this rank's layers.
  void ran(int64_t position, const std::deque<FeatureCache>& caches);
  /// Its step was applied, on ranks that have the queue.
  void applied(int64_t position, const BlockQueue& queue);
  /// The place behind the last entry that is taken.
  int64_t end() const { return order_.place_of(agenda_.certain()); }
  /// When all is done: RunStopped if the run has ended before its end.
  void finish() const;

 private:
  bool wanted(int64_t position) const;
  void complete(int64_t position, bool& part);

  // What is noted so far of the state after some iterations.
  struct Noted {
    RunState state;
    bool blocks = false, features = false;
  };

  const DenoiseContext& context_;
  QueueOrder order_;
  std::optional<CachePart> cached_;
  int64_t rank_, iterations_;
  SnapshotAgenda agenda_;
  int64_t first_;
  std::map<int64_t, Noted> noted_;  // by iterations done
};

}  // namespace dualparal
