// SPDX-License-Identifier: Apache-2.0
#include "harness/report/variants.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/errors.h"
#include "harness/record/statistics.h"

namespace dualparal {
namespace {

// What a variant and the default have in common: all but the options.
std::string comparable_key(const ResultGroup& group) {
  const ResultLine& of = group.first;
  std::string key = group.kind() + "|" + group.size() + "|" + group.machine();
  for (const auto& text : {of.model, of.device, of.dtype}) key += "|" + shown(text);
  for (const auto& number : {of.world_size, of.frames, of.steps}) key += "|" + shown(number);
  return key;
}

PairVerdict verdict_of(const PairedDifference& found, Better better) {
  if (!(std::abs(found.difference) > found.half_width)) return PairVerdict::kNoDifference;
  const bool more = found.difference > 0;
  if (better == Better::kNeither) return more ? PairVerdict::kMore : PairVerdict::kLess;
  return more == (better == Better::kHigher) ? PairVerdict::kBetter : PairVerdict::kWorse;
}

std::string title_of(const QualityFigure& figure) {
  return figure.better == Better::kNearOne ? figure.title + " from 1" : figure.title;
}

void add_rows(Table& table, const ResultGroup& variant, const ResultGroup& base, size_t fewest_pairs) {
  const ResultLine& of = variant.first;
  for (const QualityFigure& figure : quality_figures()) {
    const PairedDifference found = paired_difference(variant.by_sample(quality(figure.name)),
                                                     base.by_sample(quality(figure.name)), figure.better, fewest_pairs);
    if (found.pairs == 0) continue;
    const auto text = [&](double value) { return fmt::format("{:.{}f}", value, figure.digits); };
    std::string difference = fmt::format("{:+.{}f}", found.difference, figure.digits);
    if (found.pairs > 1) difference += " ± " + text(found.half_width);
    table.push_back({variant.options(), title_of(figure), verdict_text(found, fewest_pairs), shown(of.model),
                     variant.size(), shown(of.world_size), shown(of.dtype), shown(of.frames), shown(of.steps),
                     variant.kind(), variant.machine(), std::to_string(found.pairs), text(found.base_mean),
                     difference});
  }
}

}  // namespace

PairedDifference paired_difference(const std::map<std::string, double>& variant,
                                   const std::map<std::string, double>& base, Better better, size_t fewest_pairs) {
  const auto measure = [&](double value) { return better == Better::kNearOne ? std::abs(value - 1) : value; };
  std::vector<double> differences, bases;
  for (const auto& [sample, value] : variant) {
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

Table variant_table(const std::vector<ResultGroup>& groups, const std::string& strategy, size_t fewest_pairs) {
  check(fewest_pairs >= 2, "--min-pairs: expected 2 or more, got {}: one pair has no interval", fewest_pairs);
  std::map<std::string, const ResultGroup*> bases;
  std::set<std::string> strategies;
  for (const ResultGroup& group : groups) {
    if (group.ok.empty()) continue;
    strategies.insert(group.first.strategy);
    if (group.first.strategy == strategy && group.options().empty()) bases[comparable_key(group)] = &group;
  }
  check(!bases.empty(), "--baseline-variant {}: no result of it with its default options; there are results of {}",
        strategy, fmt::join(strategies, ", "));
  Table table{{"variant", "figure", "verdict", "model", "size", "ranks", "dtype", "frames", "steps", "kind", "machine",
               "pairs", "default", "difference"}};
  for (const ResultGroup& group : groups) {
    if (group.ok.empty() || group.first.strategy != strategy || group.options().empty()) continue;
    const auto base = bases.find(comparable_key(group));
    if (base != bases.end()) add_rows(table, group, *base->second, fewest_pairs);
  }
  check(table.size() > 1,
        "--baseline-variant {}: no variant of it has a quality figure for the same prompt and seed as the default",
        strategy);
  return without_idle_columns(table, {"model", "size", "ranks", "dtype", "frames", "steps", "kind", "machine"});
}

}  // namespace dualparal
