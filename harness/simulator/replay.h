// SPDX-License-Identifier: Apache-2.0
// Replays what ranks do on a described cluster, with SimGrid: transfers share links, ranks wait for each other.
#pragma once

#include <functional>
#include <vector>

#include "harness/simulator/cluster.h"
#include "harness/trace/rank_trace.h"

namespace dualparal {

/// Seconds that a rank's computation takes.
using ComputeSeconds = std::function<double(const Event&)>;

/// The same events with the times that they have on the cluster, from 0 on. Rank r runs on device r; with more ranks
/// than devices, several share one. Sends start at once and go on beside computation; a receive ends when all bytes are
/// there. Copies to and from host memory are made one after the other, beside computation. Error if the ranks' messages
/// do not match or come in an order in which ranks wait for each other (it names them and what they wait for), or if an
/// event would take longer than any can. Of traces with a section that stands for many, so many are replayed that it
/// takes the same time again; Repeat::period_s says which.
std::vector<RankTrace> replay(const std::vector<RankTrace>& traces, const Cluster& cluster,
                              const ComputeSeconds& compute_seconds);

}  // namespace dualparal
