// SPDX-License-Identifier: Apache-2.0
#include "harness/record/result_figures.h"

#include <algorithm>
#include <cmath>

#include "harness/trace/rank_figures.h"

namespace dualparal {
namespace {

using Json = nlohmann::ordered_json;

Json unless_null(bool known, double value) { return known ? Json(value) : Json(nullptr); }

// When the first latents were final, since the ranks began.
Json first_output(const RankTrace& trace) {
  for (const Event& event : trace.events)
    if (event.kind == Event::Kind::kOutput) return event.begin_s - trace.begin_s;
  return nullptr;
}

Json rank_fields(const RankTrace& trace, const RankFigures& figures, const std::string& kind) {
  const bool together = kind == "measured" || kind == "simulated", timed = together || kind == "emulated";
  const Work work = trace.work();
  return {{"compute_s", unless_null(timed, figures.compute_s)},
          {"communication_s", unless_null(together, figures.communication_s)},
          {"idle_s", unless_null(together, figures.idle_s)},
          {"sent_bytes", figures.sent_bytes},
          {"peak_memory_bytes", trace.peak_memory_bytes},
          {"peak_reserved_bytes", trace.peak_reserved_bytes},
          {"weights_bytes", trace.weights_bytes},
          {"flops", unless_null(work.operations > 0, work.flops())},
          {"matmul_flops", unless_null(work.operations > 0, work.matmul_flops)},
          {"attention_flops", unless_null(work.operations > 0, work.attention_flops)},
          {"moved_bytes", unless_null(work.operations > 0, work.moved_bytes)}};
}

}  // namespace

void set_rank_fields(Json& record, const std::vector<RankTrace>& traces) {
  const auto kind = record.at("kind").get<std::string>();
  const bool together = kind == "measured" || kind == "simulated";
  const auto figures = rank_figures(traces);
  double latency = 0, flops = 0;
  int64_t peak = 0, sent = 0;
  auto per_rank = Json::array();
  for (size_t rank = 0; rank < traces.size(); ++rank) {
    const RankTrace& trace = traces[rank];
    latency = std::max(latency, trace.end_s - trace.begin_s);
    peak = std::max(peak, trace.peak_memory_bytes);
    sent += figures[rank].sent_bytes;
    flops += trace.work().flops();
    per_rank.push_back(rank_fields(trace, figures[rank], kind));
  }
  record["latency_s"] = unless_null(together, latency);
  record["first_block_s"] = together ? first_output(traces.at(0)) : Json(nullptr);
  record["per_rank"] = per_rank;
  record["peak_memory_bytes"] = peak;
  record["sent_bytes"] = sent;
  record["flops"] = unless_null(flops > 0, flops);
  record["bubble_ratio"] = unless_null(together, bubble_ratio(figures));
}

void set_formula_fields(Json& record, const StrategyPlan& plan, const Workload& work) {
  const AnalyticCost cost = analytic_cost(plan, work);
  record["analytic_cost"] = {{"sent_bytes", std::llround(cost.sent_bytes)},
                             {"weights_bytes", std::llround(cost.weights_bytes)},
                             {"key_value_bytes", std::llround(cost.key_value_bytes)}};
  record["bubble_ratio_slots"] = plan.slots ? Json(plan.slots->bubble_ratio()) : Json(nullptr);
}

}  // namespace dualparal
