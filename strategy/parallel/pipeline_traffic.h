// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "strategy/parallel/part_costs.h"
#include "strategy/parallel/pipeline_stage.h"
#include "strategy/plan.h"

namespace dualparal {

/// Messages of a pipeline: hidden states from every stage to the next, and with them what a self-attention that both
/// share needs; queries, keys, values and what comes of them within a stage of several ranks; predictions from the last
/// stage to all that take the sampler's steps. stages: the parts that each stage holds.
std::vector<Traffic> pipeline_traffic(const Workload& work, const StageGrid& grid,
                                      const std::vector<TransformerParts>& stages, const std::vector<StageJob>& jobs);

/// Of these jobs: the mean, a token counting as one. cached: frames that a job sees by keys and values that are there
/// already; none: no job does.
TypicalWindow typical_window(const Workload& work, const std::vector<StageJob>& jobs,
                             const std::vector<int64_t>& cached = {});

}  // namespace dualparal
