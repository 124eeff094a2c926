// SPDX-License-Identifier: Apache-2.0
// A line of a small run, for tests of what is made from lines: they fill in what they are about.
#pragma once

#include "harness/record/result_line.h"

namespace dualparal::testing {

inline ResultLine small_run(const std::string& strategy, uint64_t seed = 0) {
  return {.strategy = strategy,
          .world_size = 2,
          .model = "m",
          .device = "cpu",
          .dtype = "fp32",
          .frames = 81,
          .height = 64,
          .width = 96,
          .steps = 10,
          .seed = seed};
}

}  // namespace dualparal::testing
