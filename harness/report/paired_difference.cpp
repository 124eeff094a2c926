// SPDX-License-Identifier: Apache-2.0
#include "harness/report/paired_difference.h"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "harness/record/statistics.h"

namespace dualparal {
namespace {

PairVerdict verdict_of(const PairedDifference& found, Better better) {
  if (!(std::abs(found.difference) > found.half_width)) return PairVerdict::kNoDifference;
  const bool more = found.difference > 0;
  if (better == Better::kNeither) return more ? PairVerdict::kMore : PairVerdict::kLess;
  return more == (better == Better::kHigher) ? PairVerdict::kBetter : PairVerdict::kWorse;
}

}  // namespace

PairedDifference paired_difference(const std::map<std::string, double>& compared,
                                   const std::map<std::string, double>& base, Better better, size_t fewest_pairs) {
  const auto measure = [&](double value) { return better == Better::kNearOne ? std::abs(value - 1) : value; };
  std::vector<double> differences, bases;
  for (const auto& [sample, value] : compared) {
    const auto found = base.find(sample);
    if (found == base.end()) continue;
    bases.push_back(measure(found->second));
    differences.push_back(measure(value) - bases.back());
  }
  const MeanInterval interval = mean_interval(differences);
  PairedDifference found{.pairs = differences.size(),
                         .base_mean = mean_interval(bases).mean,
                         .difference = interval.mean,
                         .half_width = interval.half_width};
  if (found.pairs >= fewest_pairs) found.verdict = verdict_of(found, better);
  return found;
}

std::string verdict_text(const PairedDifference& difference, size_t fewest_pairs) {
  switch (difference.verdict) {
    case PairVerdict::kBetter:
      return "better";
    case PairVerdict::kWorse:
      return "worse";
    case PairVerdict::kMore:
      return "more";
    case PairVerdict::kLess:
      return "less";
    case PairVerdict::kNoDifference:
      return "no difference shown";
    case PairVerdict::kCannotTell:
      break;
  }
  return fmt::format("cannot tell ({} of {} pairs)", difference.pairs, fewest_pairs);
}

}  // namespace dualparal
