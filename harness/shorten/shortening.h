// SPDX-License-Identifier: Apache-2.0
// Traces of a run made from those of a shorter one: steps, or blocks, that are alike are traced once. The events and
// what a simulation makes of them are those of the whole run; docs/simulation.md.
#pragma once

#include <functional>
#include <vector>

#include "harness/options/strategies.h"
#include "harness/trace/rank_trace.h"

namespace dualparal {

/// What a run may have fewer of.
struct RunSize {
  int64_t steps = 0, latent_frames = 0;
  bool operator==(const RunSize&) const = default;
};

/// What must be known of the whole run.
struct WholeRun {
  Repeats repeats = Repeats::kNothing;  ///< StrategyEntry::repeats
  OptionValues options;                 ///< the strategy's, resolved
  RunSize size;
  int64_t ranks = 1;
  int64_t experts = 1;
  bool guided = true;
  int64_t step_period = 1;  ///< steps after which what is seen is the same again: sparse attention's global frames turn
};

/// The traces of all ranks of a run of this size that is otherwise the same.
using TraceRanks = std::function<std::vector<RankTrace>(const RunSize&)>;

/// The whole run's traces, with RankTrace::repeat where a section stands for many. Where nothing is alike enough, as
/// `trace` makes them of the whole size. Traces that are put together from a queue's entries carry no
/// Event::live_bytes; their peak is the whole run's all the same.
std::vector<RankTrace> short_traces(const WholeRun& run, const TraceRanks& trace);

}  // namespace dualparal
