// SPDX-License-Identifier: Apache-2.0
// What an option of a strategy does to quality: every variant against the default one, prompt by prompt and seed by
// seed. Between prompts figures differ more than between variants, so means alone say little.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "harness/report/quality_figures.h"
#include "harness/report/report_groups.h"
#include "harness/report/report_table.h"

namespace dualparal {

/// Below it, nothing is said: the interval of a few pairs is wide, and narrow by luck.
constexpr size_t kFewestPairs = 10;

enum class PairVerdict { kBetter, kWorse, kMore, kLess, kNoDifference, kCannotTell };

struct PairedDifference {
  size_t pairs = 0;
  double base_mean = 0;   ///< over the pairs; of ratios, of their distance from 1
  double difference = 0;  ///< mean of variant - base over the pairs; NaN of none
  double half_width = 0;  ///< of its 95 % interval, by Student's t over the pairs; NaN of fewer than two
  PairVerdict verdict = PairVerdict::kCannotTell;
};

/// variant, base: a figure by sample. Only samples that both have are pairs.
PairedDifference paired_difference(const std::map<std::string, double>& variant,
                                   const std::map<std::string, double>& base, Better better, size_t fewest_pairs);

/// "better", "no difference shown", "cannot tell (6 of 10 pairs)".
std::string verdict_text(const PairedDifference& difference, size_t fewest_pairs);

/// A row for each variant of `strategy` and each quality figure. Compared are only lines of the same kind, machine or
/// cluster, model, size, frames, steps, device, dtype and number of ranks. The first 3 columns are words.
/// Error if there is no pair of a variant with the default, and for fewest_pairs below 2.
Table variant_table(const std::vector<ResultGroup>& groups, const std::string& strategy, size_t fewest_pairs);

}  // namespace dualparal
