// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "harness/options/replicas.h"
#include "model/wan/wan_model.h"
#include "strategy/strategy.h"

namespace dualparal {

/// What the replicas of a run with these options, resolved, do: those with most videos first. Error as Strategy::plan()
/// and replicas_of() have it.
std::vector<ReplicaPlan> plan_replicas(const GenerateOptions& options, const Request& request, const WanModel& model,
                                       const Strategy& strategy, int64_t world_size);

/// That of one of them.
const ReplicaPlan& plan_of(const std::vector<ReplicaPlan>& plans, const Replica& replica);

}  // namespace dualparal
