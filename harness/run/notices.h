// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "harness/options/generate_options.h"
#include "model/wan/wan_model.h"
#include "strategy/plan.h"

namespace dualparal {

/// What a user may want to know before a run begins: a prompt that was not given, or is empty; outputs that are there
/// already and will be overwritten; a flow shift that is not
/// the official one. `given`: the options as they came, `resolved`: with all defaults.
std::vector<std::string> notices(const GenerateOptions& given, const GenerateOptions& resolved, const WanModel& model);

/// Prompts of --prompts that a run as planned does not show.
std::vector<std::string> prompt_notices(const GenerateOptions& resolved, const StrategyPlan& plan,
                                        const LatentGeometry& geometry);

/// What Ctrl-C leaves of a run.
std::string what_is_kept(const GenerateOptions& resolved);

}  // namespace dualparal
