// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dualparal {

/// Runs this same program once for each of `nproc` ranks, with RANK, WORLD_SIZE, LOCAL_RANK, ... in their environment,
/// and waits for all. This process holds the store where they meet. When one fails, the others are ended, and an Error
/// is thrown that names the first cause. No rank outlives this process.
void launch_ranks(const std::vector<std::string>& arguments, int64_t nproc);

}  // namespace dualparal
