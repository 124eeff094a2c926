// SPDX-License-Identifier: Apache-2.0
#include "harness/report/paired_tables.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base/errors.h"

namespace dualparal {
namespace {

// What a table compares: groups that are no base, each with the base of the same key.
struct Comparison {
  std::function<bool(const ResultGroup&)> is_base;
  std::function<bool(const ResultGroup&)> is_compared;
  std::function<std::string(const ResultGroup&)> key;
  std::function<std::string(const ResultGroup&)> name;  // of what is compared
  std::string name_title, base_title;                   // of columns
};

// What all that is compared has in common.
std::string common_key(const ResultGroup& group) {
  const ResultLine& of = group.first;
  std::string key = group.kind() + "|" + group.size() + "|" + group.machine() + "|" + shown(of.steps);
  for (const auto& text : {of.model, of.device, of.dtype}) key += "|" + shown(text);
  return key;
}

std::string title_of(const QualityFigure& figure) {
  return figure.better == Better::kNearOne ? figure.title + " from 1" : figure.title;
}

void add_rows(Table& table, const std::string& name, const ResultGroup& compared, const ResultGroup& base,
              size_t fewest_pairs) {
  const ResultLine& of = compared.first;
  for (const QualityFigure& figure : quality_figures()) {
    const PairedDifference found = paired_difference(compared.by_sample(quality(figure.name)),
                                                     base.by_sample(quality(figure.name)), figure.better, fewest_pairs);
    if (found.pairs == 0) continue;
    const auto text = [&](double value) { return fmt::format("{:.{}f}", value, figure.digits); };
    std::string difference = fmt::format("{:+.{}f}", found.difference, figure.digits);
    if (found.pairs > 1) difference += " ± " + text(found.half_width);
    table.push_back({name, title_of(figure), verdict_text(found, fewest_pairs), shown(of.model), compared.size(),
                     shown(of.world_size), shown(of.dtype), shown(of.frames), shown(of.steps), compared.kind(),
                     compared.machine(), std::to_string(found.pairs), text(found.base_mean), difference});
  }
}

Table rows_of(const std::vector<ResultGroup>& groups, const Comparison& comparison, size_t fewest_pairs) {
  check(fewest_pairs >= 2, "--min-pairs: expected 2 or more, got {}: one pair has no interval", fewest_pairs);
  std::map<std::string, const ResultGroup*> bases;
  for (const ResultGroup& group : groups)
    if (!group.ok.empty() && comparison.is_base(group)) bases.try_emplace(comparison.key(group), &group);
  Table table{{comparison.name_title, "figure", "verdict", "model", "size", "ranks", "dtype", "frames", "steps", "kind",
               "machine", "pairs", comparison.base_title, "difference"}};
  for (const ResultGroup& group : groups) {
    if (group.ok.empty() || !comparison.is_compared(group)) continue;
    const auto base = bases.find(comparison.key(group));
    if (base != bases.end()) add_rows(table, comparison.name(group), group, *base->second, fewest_pairs);
  }
  return table;
}

Table without_idle(const Table& table) {
  return without_idle_columns(table, {"model", "size", "ranks", "dtype", "frames", "steps", "kind", "machine"});
}

bool cannot_tell(const std::vector<std::string>& row) { return row[kPairedWords - 1].starts_with("cannot tell"); }

}  // namespace

PairedTable variant_pairs(const std::vector<ResultGroup>& groups, const std::string& strategy, size_t fewest_pairs) {
  const auto is_default = [&](const ResultGroup& group) {
    return group.first.strategy == strategy && group.options().empty();
  };
  std::set<std::string> strategies;
  bool has_default = false;
  for (const ResultGroup& group : groups) {
    if (group.ok.empty()) continue;
    strategies.insert(group.first.strategy);
    has_default = has_default || is_default(group);
  }
  check(has_default, "--baseline-variant {}: no result of it with its default options; there are results of {}",
        strategy, fmt::join(strategies, ", "));
  const Table table = rows_of(
      groups,
      {.is_base = is_default,
       .is_compared =
           [&](const ResultGroup& group) { return group.first.strategy == strategy && !group.options().empty(); },
       .key =
           [](const ResultGroup& group) {
             return common_key(group) + "|" + shown(group.first.frames) + "|" + shown(group.first.world_size);
           },
       .name = [](const ResultGroup& group) { return group.options(); },
       .name_title = "variant",
       .base_title = "default"},
      fewest_pairs);
  check(table.size() > 1,
        "--baseline-variant {}: no variant of it has a quality figure for the same prompt and seed as the default",
        strategy);
  return {fmt::format("Variants of {} against its default options", strategy), "variant less default",
          without_idle(table)};
}

PairedTable strategy_pairs(const std::vector<ResultGroup>& groups, const std::string& base, size_t fewest_pairs) {
  const auto is_base = [&](const ResultGroup& group) {
    return group.first.strategy == base && group.options().empty();
  };
  Table table =
      rows_of(groups,
              {.is_base = is_base,
               .is_compared = [&](const ResultGroup& group) { return !is_base(group); },
               .key = [](const ResultGroup& group) { return common_key(group) + "|" + shown(group.first.frames); },
               .name = &ResultGroup::strategy_and_options,
               .name_title = "strategy",
               .base_title = base},
              fewest_pairs);
  table.erase(std::remove_if(table.begin() + 1, table.end(), cannot_tell), table.end());
  return {fmt::format("Quality against that of {}", base), fmt::format("strategy less {}", base), without_idle(table)};
}

PairedTable length_pairs(const std::vector<ResultGroup>& groups, int64_t frames, size_t fewest_pairs) {
  const auto is_base = [&](const ResultGroup& group) { return group.first.frames == frames; };
  const Table table = rows_of(groups,
                              {.is_base = is_base,
                               .is_compared = [&](const ResultGroup& group) { return !is_base(group); },
                               .key =
                                   [](const ResultGroup& group) {
                                     return common_key(group) + "|" + group.strategy_and_options() + "|" +
                                            shown(group.first.world_size);
                                   },
                               .name = &ResultGroup::strategy_and_options,
                               .name_title = "strategy",
                               .base_title = fmt::format("at {} frames", frames)},
                              fewest_pairs);
  check(table.size() > 1,
        "--baseline-frames {}: no strategy has a quality figure for the same prompt and seed at {} frames and at "
        "another length",
        frames, frames);
  return {fmt::format("Quality at other lengths than {} frames", frames),
          fmt::format("at so many frames less at {}", frames), without_idle(table)};
}

std::string markdown_section(const PairedTable& table) {
  const auto judged = table.rows.size() - 1 - static_cast<size_t>(std::ranges::count_if(table.rows, cannot_tell));
  return fmt::format(
             "\n## {}\n\nDifference: {}, mean over pairs of the same prompt and seed ± half the "
             "width of its 95 % confidence interval, by Student's t over the pairs. Better, worse, more, less: the "
             "interval leaves out 0. \"No difference shown\" is no proof that there is none. \"From 1\": the distance "
             "of a ratio from 1. Of the {} rows with a verdict, {:.1f} would show a difference by chance if there were "
             "none at "
             "all.\n\n",
             table.title, table.difference, judged, 0.05 * static_cast<double>(judged)) +
         markdown_table(table.rows, kPairedWords);
}

}  // namespace dualparal
