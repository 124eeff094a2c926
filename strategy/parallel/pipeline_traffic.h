// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "strategy/plan.h"

namespace dualparal {

/// Messages of a pipeline of ranks: hidden states from every stage to the next, predictions from the last to the first.
/// hidden_tokens, predicted_tokens: of all jobs together.
std::vector<Traffic> pipeline_traffic(const Workload& work, double hidden_tokens, double predicted_tokens);

}  // namespace dualparal
