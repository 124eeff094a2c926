// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "harness/simulator/cluster.h"
#include "harness/trace/rank_trace.h"

namespace dualparal {

struct SimulateOptions {
  std::filesystem::path traces;
  std::vector<std::string> clusters;  ///< names of those in configs/clusters, or YAML files
  std::string compute = "model";      ///< from the work and the cluster's rates; "measured": as the traces' clocks say
  std::string result;                 ///< file to append the result lines to
  std::string timeline;               ///< Chrome trace; of several clusters, the name is put before the extension
  bool share_devices = false;         ///< more ranks than devices: rank r on device r % devices, instead of an error
  bool sweep = false;                 ///< besides, with every share at the ends of its range
  bool quiet = false;
};

/// What must stay free of a device's memory, as far as a trace's count is off: only then do ranks fit into it.
constexpr double kMemoryMargin = 0.05;

/// The result line of `traces` on `cluster`: the traced run's own, with the times of the replay. Ranks that do not fit
/// into their device's memory make it a failed one, whose latency is null.
ResultLine simulated_line(const TraceSet& traces, const std::vector<RankTrace>& replayed, const Cluster& cluster,
                          const std::string& compute);

/// The part of the fullest device's memory, less what is reserved, that stays free: negative where it is too small.
/// Ranks that share a device share its memory. Empty where the cluster does not say how much there is.
std::optional<double> memory_margin(const std::vector<RankTrace>& traces, const Cluster& cluster);

/// Why the ranks do not fit into the cluster's memory; empty if they do, or where it does not say how much there is.
std::string memory_failure(const std::vector<RankTrace>& traces, const Cluster& cluster);

/// Error unless every rank has a device of its own.
void check_devices(const Cluster& cluster, int64_t ranks);

/// `dualparal simulate`: a line for each cluster. Throws Error at the end if the ranks did not fit into some memory.
void run_simulate(const SimulateOptions& options);

}  // namespace dualparal
