// SPDX-License-Identifier: Apache-2.0
// The ranks' steps on a described cluster on which no transfer slows another: a bound that costs next to nothing.
#pragma once

#include <vector>

#include "harness/simulator/engine.h"

namespace dualparal {

/// As run_engine(), each transfer with all of the bandwidth of the links that it crosses. Ranks do their steps in a
/// fixed order, so shared links can only make each of them later: no step ends before it does here. With a device for
/// each rank alone; ranks that share one wait for each other besides.
std::vector<SimulatedRank> run_uncontended(const std::vector<std::vector<SimulatedStep>>& ranks, const Cluster& cluster,
                                           int64_t alike);

}  // namespace dualparal
