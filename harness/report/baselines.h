// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dualparal {

/// What a report compares results with. Each adds tables; none is needed.
struct Baselines {
  std::string strategy = {};                  ///< latency and memory divided by its own, and quality against it
  std::vector<std::string> variants_of = {};  ///< strategies: quality of their variants against their default options
  std::optional<int64_t> frames = {};         ///< a length: quality of videos of other lengths against it
};

}  // namespace dualparal
