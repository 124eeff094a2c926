// SPDX-License-Identifier: Apache-2.0
// Replicas that are replayed alone, or once for all that do the same, have the times of a replay of all.
#include "harness/simulator/replica_replay.h"

#include "tests/harness/simulator/instant_cluster.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;
using Kind = Event::Kind;

double given(const Event& event) { return event.end_s - event.begin_s; }

Cluster nodes_of(int64_t nodes, int64_t devices) {
  Cluster cluster = instant(devices);
  cluster.nodes = nodes;
  cluster.device_link = {1e6, 0.01};
  return cluster;
}

// Replicas of so many ranks, each of which sends to the next, the last to the first. seconds: that a rank of each
// replica computes before.
std::vector<RankTrace> rings(const std::vector<double>& seconds, int64_t ranks) {
  std::vector<RankTrace> out;
  for (size_t replica = 0; replica < seconds.size(); ++replica)
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const auto at = [&](int64_t other) {
        return static_cast<int64_t>(replica) * ranks + (rank + other + ranks) % ranks;
      };
      out.push_back({.events = {{.kind = Kind::kCompute, .end_s = seconds[replica]},
                                {.kind = Kind::kSend, .peer = at(1), .bytes = 1'000'000},
                                {.kind = Kind::kReceive, .peer = at(-1), .bytes = 1'000'000},
                                {.kind = Kind::kWait, .peer = at(1)}}});
    }
  return out;
}

struct Case {
  const char* name;
  Cluster cluster;
  std::vector<double> seconds;
  int64_t ranks = 2, replayed = 1;
};
std::ostream& operator<<(std::ostream& out, const Case& one) { return out << one.name; }

std::vector<Case> cases() {
  Cluster through_host = nodes_of(2, 4), network = nodes_of(3, 2), adapters = nodes_of(4, 2);
  through_host.host_link = {1.5e6, 0.01};
  network.node_link = {1e6, 0.02};
  adapters.adapter_link = {0.5e6, 0.02};
  return {
      {"links of their own", nodes_of(1, 8), {1, 1, 1, 1}, 2, 1},
      {"two kinds", nodes_of(1, 8), {1, 1, 2, 2}, 2, 2},
      {"a node's host is shared by all on it", through_host, {1, 1, 1, 1}, 2, 2},
      {"a network is shared by those that use it", network, {1, 1}, 3, 2},
      {"adapters are not", adapters, {1, 1}, 4, 1},
      {"other places of nodes", nodes_of(3, 2), {1, 1}, 3, 2},
  };
}

BOOST_AUTO_TEST_SUITE(replica_replay)

BOOST_DATA_TEST_CASE(times_are_those_of_a_replay_of_all, data::make(cases()), one) {
  const auto traces = rings(one.seconds, one.ranks);
  const auto replicas = static_cast<int64_t>(one.seconds.size());
  const ReplicaReplay out = replay_replicas(traces, replicas, one.cluster, given);
  BOOST_TEST(out.replayed == one.replayed);
  const auto all = replay(traces, one.cluster, given);
  BOOST_REQUIRE(out.traces.size() == all.size());
  for (size_t rank = 0; rank < all.size(); ++rank) {
    BOOST_TEST(out.traces[rank].end_s == all[rank].end_s, tt::tolerance(1e-6));
    BOOST_TEST(out.traces[rank].end_s > one.seconds[rank / static_cast<size_t>(one.ranks)] + 0.9);
    BOOST_REQUIRE(out.traces[rank].events.size() == all[rank].events.size());
    for (size_t i = 0; i < all[rank].events.size(); ++i) {
      BOOST_TEST(out.traces[rank].events[i].peer == traces[rank].events[i].peer);
      BOOST_TEST(out.traces[rank].events[i].begin_s == all[rank].events[i].begin_s, tt::tolerance(1e-6));
    }
  }
}

BOOST_AUTO_TEST_CASE(replicas_that_share_a_device_are_replayed_together) {
  BOOST_TEST((sharing_replicas(nodes_of(1, 4), 4, 2) == std::vector<ReplicaRange>{{0, 4}}));
  BOOST_TEST((sharing_replicas(nodes_of(1, 4), 2, 2) == std::vector<ReplicaRange>{{0, 1}, {1, 2}}));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
