// SPDX-License-Identifier: Apache-2.0
// The ranks' steps on a described cluster, by SimGrid. One engine in the life of a process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/recorder.h"
#include "harness/simulator/cluster.h"

namespace dualparal {

/// What decides when something happens on a rank.
struct SimulatedStep {
  Event::Kind kind = Event::Kind::kCompute;
  double seconds = 0;  ///< that it keeps the device busy
  int64_t peer = 0;
  Channel channel = Channel::kForward;
  double bytes = 0;  ///< of an exchange: those that are still to travel when all its messages have been sent
};

struct StepTimes {
  double begin_s = 0, end_s = 0;
};

struct SimulatedRank {
  std::vector<StepTimes> times;  ///< by step
  uint64_t finished = 0;         ///< steps that came to their end
  bool done = false;             ///< all did, and all that was sent was taken
};

/// "sender>receiver/channel"
std::string mailbox_name(int64_t from, int64_t to, Channel channel);

/// Device of a rank that stands for so many, neighbours: the first of theirs.
inline int64_t device_of(int64_t rank, int64_t alike, const Cluster& cluster) {
  return rank * alike % cluster.devices();
}

/// Every rank does its steps in order, each on a device; alike: ranks that each of them stands for. Where ranks wait
/// for each other, they stop there: see SimulatedRank::done.
std::vector<SimulatedRank> run_engine(const std::vector<std::vector<SimulatedStep>>& ranks, const Cluster& cluster,
                                      int64_t alike);

}  // namespace dualparal
