// SPDX-License-Identifier: Apache-2.0
// Two sets of videos compared prompt by prompt and seed by seed. Between prompts figures differ more than between what
// is compared, so means alone say little.
#pragma once

#include <map>
#include <string>

#include "harness/report/quality_figures.h"

namespace dualparal {

/// Below it, nothing is said: the interval of a few pairs is wide, and narrow by luck.
constexpr size_t kFewestPairs = 10;

enum class PairVerdict { kBetter, kWorse, kMore, kLess, kNoDifference, kCannotTell };

struct PairedDifference {
  size_t pairs = 0;
  double base_mean = 0;   ///< over the pairs; of ratios, of their distance from 1
  double difference = 0;  ///< mean of compared - base over the pairs; NaN of none
  double half_width = 0;  ///< of its 95 % interval, by Student's t over the pairs; NaN of fewer than two
  PairVerdict verdict = PairVerdict::kCannotTell;
};

/// compared, base: a figure by sample. Only samples that both have are pairs.
PairedDifference paired_difference(const std::map<std::string, double>& compared,
                                   const std::map<std::string, double>& base, Better better, size_t fewest_pairs);

/// "better", "no difference shown", "cannot tell (6 of 10 pairs)".
std::string verdict_text(const PairedDifference& difference, size_t fewest_pairs);

}  // namespace dualparal
