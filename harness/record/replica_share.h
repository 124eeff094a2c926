// SPDX-License-Identifier: Apache-2.0
// Replicas: equal groups of a run's ranks, one behind the other, each of which makes some videos of a list by itself
// (`--replicas`).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "harness/record/result_line.h"

namespace dualparal {

/// The videos that a replica makes, counted from 0: each replica takes the next in turn, so that video k is one of
/// replica k mod replicas. It is settled beforehand, whichever of them is free first.
inline std::vector<int64_t> videos_of_replica(int64_t videos, int64_t replicas, int64_t replica) {
  std::vector<int64_t> own;
  for (int64_t video = replica; video < videos; video += replicas) own.push_back(video);
  return own;
}

/// How many replicas a line is of; 1 where it does not say.
inline int64_t replicas_in(const ResultLine& line) {
  const auto found = line.options.find("replicas");
  return found == line.options.end() ? 1 : std::stoll(found->get<std::string>());
}

}  // namespace dualparal
