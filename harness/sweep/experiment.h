// SPDX-License-Identifier: Apache-2.0
// Experiment files (YAML): what to run, as lists that are crossed. Described in docs/experiments.md.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "harness/report/baselines.h"

namespace dualparal {

/// Flags of `dualparal generate`, without "--". A switch has the value "true".
using Flags = std::map<std::string, std::string>;

struct Point {
  Flags flags;  ///< with `strategy`
  int64_t repeat = 0;
  std::filesystem::path cluster = {};  ///< where its traces are simulated; empty: it is run, emulated or traced itself
  std::string skip_reason = {};        ///< empty: to be run
  bool video = false;                  ///< keep its mp4
  bool timeline = false;               ///< keep its timeline
  bool reference = false;              ///< compare its video with what `single` makes from the same noise
  bool checked = false;                ///< its strategy is exact: compare its latents with those of `single`
  bool bands = false;                  ///< simulate it with every share at the ends of its range, too
  bool gives_reference = false;        ///< `single` itself, for the points that are checked
  /// The same for the same flags, repeat and cluster, whatever their place in the experiment.
  std::string key() const;
  std::string label() const;
};

struct Experiment {
  std::string name;
  std::string title;
  int64_t repeat = 1;
  Baselines baselines = {};  ///< of its report
  std::vector<Point> points;
};

/// Error if the file cannot be read, UsageError that names file, line and key for anything in it that is not
/// understood.
Experiment read_experiment(const std::filesystem::path& file);

}  // namespace dualparal
