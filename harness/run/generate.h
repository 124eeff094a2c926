// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.h"
#include "harness/options/generate_options.h"
#include "model/wan/wan_model.h"
#include "strategy/plan.h"

namespace dualparal {

/// The plan of a run with these options, resolved, on so many ranks, or of its first replica. Error if it is
/// impossible, as far as that can be said without weights and inputs: a model without weights, a plan that does not
/// work out.
StrategyPlan check_possible(const GenerateOptions& options, const WanModel& model, int64_t world_size);

/// `dualparal generate`: generates a video, as one rank or by starting `--nproc` of them; appends the result line where
/// asked, prints a summary. arguments: those of the program, for the ranks. Throws on failure.
void run_generate(const GenerateOptions& options, const std::vector<std::string>& arguments);

}  // namespace dualparal
