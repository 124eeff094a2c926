// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "harness/simulator/cluster.h"
#include "harness/trace/rank_trace.h"

namespace dualparal {

struct Calibration {
  Cluster cluster;                         ///< with efficiency, and links where there were messages, as measured
  int64_t computations = 0, messages = 0;  ///< that it was made from
  double median_error = 0;                 ///< of a computation's modelled time, relative
  std::string text() const;
};

/// Fits `base`'s efficiency to the measured computations of all traces: seconds = sum of work of each kind / its rate,
/// by least squares of relative errors with no rate below zero; the links to the messages whose receiver was already
/// waiting; and what a byte costs the device to the latency of the runs of several ranks. Error if the traces carry no
/// times or no work (`--traces` of a run notes both).
Calibration calibrate(const std::vector<TraceSet>& traces, const Cluster& base);

struct CalibrateOptions {
  std::vector<std::filesystem::path> traces;
  std::string cluster;  ///< the name of one in configs/clusters, or a YAML file
  std::filesystem::path output;
};

/// `dualparal calibrate`.
void run_calibrate(const CalibrateOptions& options);

}  // namespace dualparal
