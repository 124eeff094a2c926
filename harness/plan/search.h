// SPDX-License-Identifier: Apache-2.0
// All candidates: what each can reach at best, and those that may be the fastest simulated.
#pragma once

#include <functional>

#include "harness/plan/evaluate.h"

namespace dualparal {

struct Judged {
  Candidate candidate;
  Verdict verdict;
};

/// In the candidates' order, behind them those whose caches go into host memory: of candidates that did not fit, or
/// whose caches take most of the memory that they need; `jobs` processes at a time. Exact ones need to beat the fastest
/// exact one so far, the others the fastest of all. progress: called with the number that are done, and that of all.
/// Error where a process ended without a verdict.
std::vector<Judged> search(const PlanTask& task, const std::vector<Candidate>& all, int64_t jobs,
                           const std::function<void(int64_t done, int64_t all)>& progress);

}  // namespace dualparal
