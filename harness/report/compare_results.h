// SPDX-License-Identifier: Apache-2.0
// `dualparal compare-results OLD NEW`: row by row, is it still the same, and as fast?
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "harness/record/result_line.h"

namespace dualparal {

struct CompareResultsOptions {
  std::filesystem::path before = {}, after = {};  ///< results.jsonl files, or folders that hold one
  bool ratios = false;  ///< of another machine: compare latencies divided by `base`'s of the same machine
  /// Strategy that `ratios` divides by. Where a set of rows (model, size, frames, steps, dtype) lacks it, the first row
  /// takes its place; of a set of one row nothing can be told.
  std::string base = "single";
  double relative = 0.1;  ///< a latency or memory that differs by less is the same
  double absolute_s = 0.02;
  double band = 0.35;  ///< with ratios: a ratio that differs by less is the same
};

enum class Verdict { kSame, kBetter, kCannotTell, kRegression, kWrong };
std::string verdict_name(Verdict verdict);

/// One figure of one row of results.
struct ComparedFigure {
  std::string row, figure, before, after;
  Verdict verdict = Verdict::kSame;
};

/// Points are matched by strategy, options, model, size, frames, steps, dtype, ranks and kind. Figures that do not
/// depend on the machine (bytes sent, FLOPs, formulas, slots, everything traced or simulated) must be equal. A measured
/// latency differs if its median does by more than the thresholds, by more than the wider range of the samples (twice
/// that with fewer than five on a side), and the ranges do not overlap; with fewer than three samples on a side nothing
/// can be told unless it is half as much again. Figures of quality of measured rows are equal up to rounding. Error
/// that says what differs if the machines (without `ratios`) or the recipes (seed, prompt, threads, ...) do.
std::vector<ComparedFigure> compare_results(const CompareResultsOptions& options, const std::vector<ResultLine>& before,
                                            const std::vector<ResultLine>& after);

/// Prints the comparison; the number of regressions and wrong figures.
int64_t run_compare_results(const CompareResultsOptions& options);

}  // namespace dualparal
