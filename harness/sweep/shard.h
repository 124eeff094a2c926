// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "harness/sweep/experiment.h"

namespace dualparal {

/// One experiment on several machines: every machine takes a shard.
struct Shard {
  int64_t number = 1, count = 1;  ///< 1 <= number <= count
};

/// Of "2/4", the second of four. UsageError for anything else.
Shard parse_shard(const std::string& text);

/// Keeps the points of a shard: every count-th run in the experiment's order, with the simulations of its traces. All
/// shards together have every point once. UsageError if there are fewer runs than shards.
void keep_shard(Experiment& experiment, const Shard& shard);

}  // namespace dualparal
