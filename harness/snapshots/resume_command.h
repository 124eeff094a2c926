// SPDX-License-Identifier: Apache-2.0
// How a run that has ended goes on.
#pragma once

#include <string>
#include <vector>

#include "harness/options/generate_options.h"

namespace dualparal {

/// The program's arguments, with --resume of the run's snapshots.
std::vector<std::string> resume_arguments(std::vector<std::string> arguments, const SnapshotOptions& options);

/// What a run that ends before its end tells last: the command that goes on from its newest snapshot, or that there is
/// none yet. Empty for a run without snapshots.
std::string how_to_go_on(const std::vector<std::string>& arguments, const SnapshotOptions& options);

}  // namespace dualparal
