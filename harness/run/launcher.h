// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dualparal {

/// Runs this same program once for each of `nproc` ranks, with RANK, WORLD_SIZE, LOCAL_RANK, ... in their environment,
/// and waits for all. This process holds the store where they meet. When one fails, the others are ended, and an Error
/// is thrown that names the first cause. No rank outlives this process. keep_state: SIGTERM and SIGUSR1 are passed on
/// to the ranks as a wish to keep the run's state and to stop; RunStopped when they have.
void launch_ranks(const std::vector<std::string>& arguments, int64_t nproc, bool keep_state = false);

/// Whether a signal has told launch_ranks() to end.
bool launcher_interrupted();

}  // namespace dualparal
