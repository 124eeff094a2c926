// SPDX-License-Identifier: Apache-2.0
// `--replicas`: the ranks as equal groups, each of which runs the whole strategy with its share of a list of prompts.
#pragma once

#include <string>
#include <vector>

#include "harness/options/generate_options.h"
#include "strategy/parallel/ranges.h"
#include "strategy/plan.h"

namespace dualparal {

struct Replica {
  Range ranks;                  ///< of all of the run
  std::vector<int64_t> videos;  ///< of the list, counted from 0
};

/// Declares the flag.
void add_replicas_flag(CLI::App& app, const std::string& group, RunOptions& options);

/// UsageError where there is no list to share. Before other options are resolved.
void check_replicas(const GenerateOptions& options);

/// By number; one, of all ranks and videos, without --replicas. UsageError if the ranks cannot be cut into so many, or
/// one of them would have no video.
std::vector<Replica> replicas_of(const GenerateOptions& options, int64_t world_size);

/// What each of some replicas does: those that have as many videos.
struct ReplicaPlan {
  Workload work;  ///< of one
  StrategyPlan plan;
  int64_t replicas = 1;  ///< that do this
};

}  // namespace dualparal
