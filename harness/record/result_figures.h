// SPDX-License-Identifier: Apache-2.0
// The fields of a result line that come from what the ranks did, and from formulas.
#pragma once

#include <vector>

#include "base/json.h"
#include "harness/trace/rank_trace.h"
#include "strategy/plan.h"

namespace dualparal {

/// latency_s, first_block_s, per_rank, peak_memory_bytes, sent_bytes, flops, bubble_ratio. What the record's `kind`
/// does not measure is null: emulated ranks compute in real time but do not wait for each other, traced ones have no
/// times.
void set_rank_fields(nlohmann::ordered_json& record, const std::vector<RankTrace>& traces);

/// analytic_cost, bubble_ratio_slots.
void set_formula_fields(nlohmann::ordered_json& record, const StrategyPlan& plan, const Workload& work);

}  // namespace dualparal
