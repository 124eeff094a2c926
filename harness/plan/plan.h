// SPDX-License-Identifier: Apache-2.0
// `dualparal plan`: which strategy, with which degrees, is fastest for a video on a cluster.
#pragma once

#include <optional>
#include <string>

#include "harness/options/generate_options.h"

namespace dualparal {

struct PlanOptions {
  GenerateOptions video;             ///< model, dtype, device, frames, steps, height and width, as given
  std::string size;                  ///< "832x480", width first; empty: video's height and width
  std::string cluster;               ///< the name of one in configs/clusters, or a YAML file
  std::optional<int64_t> devices;    ///< of the cluster's; empty: all
  std::optional<double> memory_gib;  ///< of a device that may be used; empty: what the cluster says
  bool exact = false;                ///< only strategies that give what `single` gives
  int64_t jobs = 0;                  ///< candidates at the same time; 0: as many as there are processors
  int64_t rows = 10;                 ///< of the ranking
  std::string result;                ///< file to append the simulated candidates' lines to
};

/// Prints the ranking. Error if nothing can run.
void run_plan(const PlanOptions& options);

}  // namespace dualparal
