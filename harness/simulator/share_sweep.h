// SPDX-License-Identifier: Apache-2.0
// What a simulation depends on: the cluster with each of its shares, and its links, at the ends of their ranges.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "harness/simulator/cluster.h"

namespace dualparal {

/// The cluster at the ends of its ranges, by name: "matmul low", "matmul high", ..., "links low", "links high". A share
/// of 0.6 with a range of 0.2 goes from 0.48 to 0.72; bandwidths of all links go together.
std::vector<std::pair<std::string, Cluster>> share_sweep(const Cluster& cluster);

}  // namespace dualparal
