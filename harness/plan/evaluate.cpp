// SPDX-License-Identifier: Apache-2.0
#include "harness/plan/evaluate.h"

#include <algorithm>
#include <functional>

#include "base/errors.h"
#include "base/parse_json.h"
#include "harness/options/resolve_options.h"
#include "harness/options/result_header.h"
#include "harness/options/strategies.h"
#include "harness/run/emulate.h"
#include "harness/run/generate.h"
#include "harness/run/rank_run.h"
#include "harness/run/replica_plans.h"
#include "harness/simulator/replay.h"
#include "harness/simulator/simulate.h"

namespace dualparal {
namespace {

// A rank does one thing at a time: the sum of all is the least that it can take, whatever it waits for.
double busy_s(const RankTrace& trace, const Cluster& cluster, const std::string& dtype) {
  double seconds = 0;
  for (size_t i = 0; i < trace.events.size(); ++i) {
    const Event& event = trace.events[i];
    const auto many = static_cast<double>(trace.times(i));
    if (event.kind == Event::Kind::kCompute) seconds += many * cluster.compute_seconds(event.work, dtype);
    if (event.kind == Event::Kind::kSend || event.kind == Event::Kind::kReceive)
      seconds += many * cluster.message_busy_s(static_cast<double>(event.bytes));
  }
  return seconds;
}

double latency_s(const std::vector<RankTrace>& replayed) {
  double latency = 0;
  for (const RankTrace& trace : replayed) latency = std::max(latency, trace.latency_s());
  return latency;
}

int64_t most_memory(const std::vector<RankTrace>& traces) {
  int64_t most = 0;
  for (const RankTrace& trace : traces) most = std::max(most, trace.peak_memory_bytes);
  return most;
}

// By the formulas: of a layer, what its keys and values take less without caches on the device; of all layers of a
// rank.
int64_t caches_of(const Candidate& candidate, const TraceSet& set, const GenerateOptions& options,
                  const WanModel& model) {
  const auto other = with_caches_on_host(candidate);
  if (!other) return 0;
  GenerateOptions on_host = options;
  on_host.run.strategy_options["cache-memory"] = other->options.at("cache-memory");
  const auto strategy = find_strategy(options.run.strategy).make(on_host.run.strategy_options);
  const auto plans = plan_replicas(on_host, make_request(on_host, model), model, *strategy, candidate.ranks);
  ResultLine without;
  set_formula_fields(without, plans);
  int64_t layers = 0;
  for (const TransformerParts& parts : plans.front().plan.parts) layers = std::max(layers, parts.layers.size());
  return layers * (*set.run.analytic_cost->key_value_bytes - *without.analytic_cost->key_value_bytes);
}

Verdict evaluate_possible(const PlanTask& task, const Candidate& candidate, const GenerateOptions& options,
                          const WanModel& model, double to_beat) {
  const Cluster& cluster = task.cluster;
  TraceSet set = trace_run(options, model);
  Verdict verdict{.memory_bytes = most_memory(set.ranks), .cache_bytes = caches_of(candidate, set, options, model)};
  const auto seconds = [&](const Event& event) { return cluster.compute_seconds(event.work, options.model.dtype); };
  verdict.seconds = latency_s(replay_uncontended(set.ranks, cluster, seconds));
  if (std::string failure = memory_failure(set.ranks, cluster); !failure.empty()) {
    verdict.kind = Verdict::Kind::kTooLarge;
    verdict.reason = std::move(failure);
    return verdict;
  }
  if (verdict.seconds >= to_beat) {
    verdict.kind = Verdict::Kind::kSlower;
    return verdict;
  }
  verdict.kind = Verdict::Kind::kSimulated;
  verdict.line = simulated_line(set, replay(set.ranks, cluster, seconds), cluster, "model");
  verdict.seconds = *verdict.line.latency_s;
  return verdict;
}

}  // namespace

std::string Verdict::to_text() const {
  return nlohmann::ordered_json{{"kind", static_cast<int>(kind)},
                                {"seconds", seconds},
                                {"memory_bytes", memory_bytes},
                                {"cache_bytes", cache_bytes},
                                {"reason", reason},
                                {"line", kind == Kind::kSimulated ? to_json(line) : nullptr}}
      .dump();
}

Verdict Verdict::from_text(const std::string& text) {
  const auto json = parse_json<nlohmann::ordered_json>(text);
  Verdict verdict{.kind = static_cast<Kind>(json.at("kind").get<int>()),
                  .seconds = json.at("seconds"),
                  .memory_bytes = json.at("memory_bytes"),
                  .cache_bytes = json.at("cache_bytes"),
                  .reason = json.at("reason")};
  if (verdict.kind == Kind::kSimulated) verdict.line = result_line_of(json.at("line"));
  return verdict;
}

GenerateOptions candidate_options(const PlanTask& task, const Candidate& candidate) {
  GenerateOptions options = task.options;
  options.run.strategy = candidate.strategy;
  options.run.strategy_options = candidate.options;
  options.run.world_size = candidate.ranks;
  options.run.mode = Mode::kTrace;
  options.run.short_traces = options.run.quiet = true;
  return options;
}

namespace {

using Judge = std::function<Verdict(const GenerateOptions&, const WanModel&)>;

Verdict if_possible(const PlanTask& task, const Candidate& candidate, const Judge& judge) {
  GenerateOptions options = candidate_options(task, candidate);
  try {
    const WanModel model = resolve_generate_options(options);
    check_possible(options, model, candidate.ranks);
    return judge(options, model);
  } catch (const UsageError& error) {
    return {.kind = Verdict::Kind::kImpossible, .reason = error.what()};
  } catch (const Error& error) {
    return {.kind = Verdict::Kind::kImpossible, .reason = error.what()};
  }
}

}  // namespace

Verdict bound(const PlanTask& task, const Candidate& candidate) {
  return if_possible(task, candidate, [&](const GenerateOptions& options, const WanModel& model) -> Verdict {
    return {.kind = Verdict::Kind::kSlower,
            .seconds = busy_s(trace_rank(options, model, 0), task.cluster, options.model.dtype)};
  });
}

Verdict evaluate(const PlanTask& task, const Candidate& candidate, double to_beat) {
  return if_possible(task, candidate, [&](const GenerateOptions& options, const WanModel& model) {
    return evaluate_possible(task, candidate, options, model, to_beat);
  });
}

}  // namespace dualparal
