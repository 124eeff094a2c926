// SPDX-License-Identifier: Apache-2.0
#include "harness/simulator/replica_replay.h"

#include <algorithm>

#include "base/errors.h"

namespace dualparal {
namespace {

// Nodes of a replica's devices.
ReplicaRange nodes_of(const Cluster& cluster, int64_t replica, int64_t ranks) {
  return {replica * ranks / cluster.devices_per_node, ((replica + 1) * ranks - 1) / cluster.devices_per_node + 1};
}

bool share(const Cluster& cluster, const ReplicaRange& a, const ReplicaRange& b) {
  const bool network = cluster.node_link.bytes_per_s > 0 && a.size() > 1 && b.size() > 1;
  return a.begin < b.end && b.begin < a.end && (cluster.host_link.bytes_per_s > 0 || network);
}

// Some replicas' traces, as of ranks of their own on devices in the same places of nodes.
struct Part {
  ReplicaRange ranks;  // among all
  int64_t first = 0;   // devices of the first node that come before them

  int64_t moved() const { return first - ranks.begin; }
  std::vector<RankTrace> alone(const std::vector<RankTrace>& all) const {
    std::vector<RankTrace> out(static_cast<size_t>(first));
    for (int64_t rank = ranks.begin; rank < ranks.end; ++rank) {
      out.push_back(all[static_cast<size_t>(rank)]);
      out.back().move_peers(moved());
    }
    return out;
  }
};

Part part_of(const Cluster& cluster, const ReplicaRange& replicas, int64_t ranks) {
  Part part{{replicas.begin * ranks, replicas.end * ranks}};
  // Within a node, no device is unlike another.
  const int64_t node = cluster.devices_per_node;
  if (part.ranks.begin / node != (part.ranks.end - 1) / node) part.first = part.ranks.begin % node;
  return part;
}

// Whether a replay makes the same of both.
bool same(const std::vector<RankTrace>& all, const Part& a, const Part& b, const ComputeSeconds& seconds) {
  if (a.ranks.size() != b.ranks.size() || a.first != b.first) return false;
  for (int64_t rank = 0; rank < a.ranks.size(); ++rank) {
    const RankTrace& left = all[static_cast<size_t>(a.ranks.begin + rank)];
    const RankTrace& right = all[static_cast<size_t>(b.ranks.begin + rank)];
    if (left.repeat || right.repeat) return false;
    const auto alike = [&](const Event& x, const Event& y) {
      const int64_t x_peer = x.peer < 0 ? -1 : x.peer - a.ranks.begin,
                    y_peer = y.peer < 0 ? -1 : y.peer - b.ranks.begin;
      return x.kind == y.kind && x_peer == y_peer && x.channel == y.channel && x.bytes == y.bytes &&
             (x.kind != Event::Kind::kCompute || seconds(x) == seconds(y));
    };
    if (!std::ranges::equal(left.events, right.events, alike)) return false;
  }
  return true;
}

// The times of a trace of the same events.
void take_times(RankTrace& trace, const RankTrace& from) {
  trace.timed = true;
  trace.begin_s = from.begin_s;
  trace.end_s = from.end_s;
  trace.repeat = from.repeat;
  for (size_t i = 0; i < trace.events.size(); ++i) {
    trace.events[i].begin_s = from.events[i].begin_s;
    trace.events[i].end_s = from.events[i].end_s;
  }
}

}  // namespace

std::vector<ReplicaRange> sharing_replicas(const Cluster& cluster, int64_t replicas, int64_t ranks) {
  if (replicas * ranks > cluster.devices()) return {{0, replicas}};
  std::vector<ReplicaRange> out;
  for (int64_t begin = 0; begin < replicas; begin = out.back().end) {
    int64_t end = begin + 1;
    for (int64_t i = begin; i < end; ++i) {
      const ReplicaRange nodes = nodes_of(cluster, i, ranks);
      for (int64_t j = end; j < replicas && nodes_of(cluster, j, ranks).begin < nodes.end; ++j)
        if (share(cluster, nodes, nodes_of(cluster, j, ranks))) end = j + 1;
    }
    out.push_back({begin, end});
  }
  return out;
}

ReplicaReplay replay_replicas(const std::vector<RankTrace>& traces, int64_t replicas, const Cluster& cluster,
                              const ComputeSeconds& compute_seconds) {
  const auto count = static_cast<int64_t>(traces.size());
  check(replicas >= 1 && count % replicas == 0, "{} ranks are no {} equal replicas", count, replicas);
  const auto sharing = sharing_replicas(cluster, replicas, count / replicas);
  if (sharing.size() == 1) return {replay(traces, cluster, compute_seconds), replicas};
  ReplicaReplay out{traces, 0};
  std::vector<Part> replayed;
  for (const ReplicaRange& range : sharing) {
    const Part part = part_of(cluster, range, count / replicas);
    const auto like =
        std::ranges::find_if(replayed, [&](const Part& other) { return same(traces, other, part, compute_seconds); });
    std::vector<RankTrace> alone;
    if (like == replayed.end()) {
      alone = replay(part.alone(traces), cluster, compute_seconds);
      replayed.push_back(part);
      out.replayed += range.size();
    }
    for (int64_t rank = 0; rank < part.ranks.size(); ++rank)
      take_times(out.traces[static_cast<size_t>(part.ranks.begin + rank)],
                 alone.empty() ? out.traces[static_cast<size_t>(like->ranks.begin + rank)]
                               : alone[static_cast<size_t>(part.first + rank)]);
  }
  return out;
}

}  // namespace dualparal
