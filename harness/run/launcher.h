// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dualparal {

/// What a signal to the launcher is: the end; or, SIGTERM and SIGUSR1, a wish that the ranks stop in order and keep
/// their state; or Ctrl-C such a wish, too, the first time.
enum class StopBy { kNothing, kTermination, kInterrupt };

/// Runs this same program once for each of `nproc` ranks, with RANK, WORLD_SIZE, LOCAL_RANK, ... in their environment,
/// and waits for all. This process holds the store where they meet. When one fails, the others are ended, and an Error
/// is thrown that names the first cause. No rank outlives this process. Wishes to stop are passed on to the ranks;
/// RunStopped when they have stopped to go on later, or before they had begun.
void launch_ranks(const std::vector<std::string>& arguments, int64_t nproc, StopBy stop_by = StopBy::kNothing);

/// Whether a signal has told launch_ranks() to end.
bool launcher_interrupted();

}  // namespace dualparal
