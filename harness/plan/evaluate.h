// SPDX-License-Identifier: Apache-2.0
// What a candidate would do on a cluster: traced, held against what it can reach at best, simulated.
#pragma once

#include "harness/options/generate_options.h"
#include "harness/plan/candidates.h"
#include "harness/record/result_line.h"
#include "harness/simulator/cluster.h"

namespace dualparal {

/// What is planned for.
struct PlanTask {
  GenerateOptions options;  ///< model, size, length and steps as given; the strategy is the candidate's
  Cluster cluster;          ///< with the memory that may be used
};

struct Verdict {
  enum class Kind {
    kSimulated,   ///< `line` has the figures
    kSlower,      ///< takes `seconds` at least, longer than what was to be beaten
    kTooLarge,    ///< does not fit into memory: `reason`
    kImpossible,  ///< cannot run like this: `reason`
  };
  Kind kind = Kind::kImpossible;
  double seconds = 0;        ///< simulated latency, or the bound
  int64_t memory_bytes = 0;  ///< of the rank that needs most; 0: not traced
  int64_t cache_bytes = 0;   ///< of that, roughly, what is kept from one iteration to the next and could be elsewhere
  std::string reason = {};
  ResultLine line = {};

  std::string to_text() const;
  static Verdict from_text(const std::string& text);
};

/// The task's run with this candidate's strategy, traced with short traces.
GenerateOptions candidate_options(const PlanTask& task, const Candidate& candidate);

/// What the first rank computes, however short it waits: no run of it is faster. kSlower, or kImpossible.
Verdict bound(const PlanTask& task, const Candidate& candidate);

/// In this process: what it takes of memory for counting shapes stays. to_beat: seconds that a simulation must be able
/// to be faster than.
Verdict evaluate(const PlanTask& task, const Candidate& candidate, double to_beat);

}  // namespace dualparal
