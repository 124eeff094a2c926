// SPDX-License-Identifier: Apache-2.0
// Replays a run of several replicas (`--replicas`), which exchange no messages: each for itself where no link is common
// to some of them, and those that do the same once.
#pragma once

#include <vector>

#include "harness/simulator/replay.h"

namespace dualparal {

/// Half open: of replicas, ranks, nodes.
struct ReplicaRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  bool operator==(const ReplicaRange&) const = default;
};

/// Ranges of replicas, in order, that share a link of a node with none outside: a node's way through the host, or its
/// network between nodes. Replicas are `ranks` ranks each, rank r on device r. With more ranks than devices, one range.
std::vector<ReplicaRange> sharing_replicas(const Cluster& cluster, int64_t replicas, int64_t ranks);

struct ReplicaReplay {
  std::vector<RankTrace> traces;  ///< of all ranks
  int64_t replayed = 1;           ///< replicas; the others have the times of one of these
};

/// As replay(), of traces of so many replicas, one behind the other.
ReplicaReplay replay_replicas(const std::vector<RankTrace>& traces, int64_t replicas, const Cluster& cluster,
                              const ComputeSeconds& compute_seconds);

}  // namespace dualparal
