// SPDX-License-Identifier: Apache-2.0
// Flags of `dualparal generate` that keep the state of a run, and go on from it.
#pragma once

#include <cstdint>
#include <string>

namespace CLI {
class App;
}

namespace dualparal {

struct SnapshotOptions {
  std::string folder = {};  ///< --snapshot; resolved: --resume's, too. Empty: nothing is kept
  double every_s = 60;      ///< 0: after every iteration
  std::string resume_from = {};
  int64_t restarts = 0;  ///< after a fault, by the launcher

  // Resolved:
  bool resume = false;
  bool must_resume = false;  ///< without a snapshot it is an error; else the run begins at its start

  bool active() const { return !folder.empty(); }
};

struct GenerateOptions;

void add_snapshot_flags(CLI::App& app, const std::string& group, SnapshotOptions& options);

/// UsageError for flags that do not go together. The rest is resolved already.
void resolve_snapshots(GenerateOptions& options);

}  // namespace dualparal
