// SPDX-License-Identifier: Apache-2.0
#include "harness/report/speedup.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/errors.h"
#include "harness/record/statistics.h"

namespace dualparal {
namespace {

// The abstract of arXiv 2505.21070: 1,025 frames on 8 RTX 4090, "up to". Its absolute figures could not be had.
constexpr const char* kPaperLatency = "up to 6.54";
constexpr const char* kPaperMemory = "up to 1.48";

std::string comparable_key(const ResultGroup& group) {
  std::string key = group.kind() + "|" + group.size();
  const ResultLine& of = group.first;
  for (const auto& text : {of.model, of.device, of.dtype}) key += "|" + shown(text);
  for (const auto& number : {of.world_size, of.frames, of.steps}) key += "|" + shown(number);
  return key;
}

// Of a run that did not come to its end, the machine may not be known: it belongs to the first that is.
std::string set_of(const ResultGroup& group, const std::vector<std::string>& sets) {
  const std::string key = comparable_key(group) + "|";
  if (group.ok.empty() && group.machine().empty())
    for (const auto& set : sets)
      if (set.starts_with(key)) return set;
  return key + group.machine();
}

std::string number(double value, int digits) { return std::isnan(value) ? "" : fmt::format("{:.{}f}", value, digits); }

// Latency divided by the base's; where both were simulated over the ranges of the shares, with what it may be there.
std::string latency_ratio(const ResultGroup& group, const ResultGroup& of, const Figure& latency_s) {
  const double ratio = median(group.values(latency_s)) / median(of.values(latency_s));
  std::string text = number(ratio, 2);
  if (group.ok.empty() || of.ok.empty() || !group.ok[0].sweep.is_object() || !of.ok[0].sweep.is_object()) return text;
  double least = ratio, most = ratio;
  for (const auto& [corner, seconds] : group.ok[0].sweep.items()) {
    if (!of.ok[0].sweep.contains(corner)) continue;
    const double there = seconds.get<double>() / of.ok[0].sweep[corner].get<double>();
    least = std::min(least, there);
    most = std::max(most, there);
  }
  return text + fmt::format(" ({}-{})", number(least, 2), number(most, 2));
}

// What the base is to be held against: the fastest run of another strategy.
const ResultGroup* fastest_rival(const std::vector<const ResultGroup*>& groups, const std::string& base) {
  const ResultGroup* fastest = nullptr;
  double least = std::numeric_limits<double>::infinity();
  for (const ResultGroup* group : groups)
    if (const double latency = median(group->latencies()); group->first.strategy != base && latency < least) {
      fastest = group;
      least = latency;
    }
  return fastest;
}

bool is_headline(const ResultGroup& group) { return group.first.world_size == 8 && group.first.frames == 1025; }

}  // namespace

Table speedup_table(const std::vector<ResultGroup>& groups, const std::string& base) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<const ResultGroup*>> sets;
  std::map<std::string, const ResultGroup*> bases;
  std::set<std::string> strategies;
  for (const auto& group : groups)
    if (!group.ok.empty() && std::ranges::find(order, set_of(group, {})) == order.end())
      order.push_back(set_of(group, {}));
  for (const auto& group : groups) {
    const std::string key = set_of(group, order);
    if (std::ranges::find(order, key) == order.end()) order.push_back(key);
    sets[key].push_back(&group);
    strategies.insert(group.first.strategy);
    if (group.first.strategy != base) continue;
    const ResultGroup*& chosen = bases[key];
    // Its default variant, if that ran; else the first that did.
    const auto rank = [](const ResultGroup& of) { return std::pair(!of.ok.empty(), of.options().empty()); };
    if (!chosen || rank(*chosen) < rank(group)) chosen = &group;
  }
  check(!bases.empty(), "--baseline {}: no result of it; there are results of {}", base, fmt::join(strategies, ", "));

  const Figure latency_s = figure(&ResultLine::latency_s), bytes = figure(&ResultLine::peak_memory_bytes),
               flops = figure(&ResultLine::flops);
  Table table{{"strategy", "options", "kind", "machine", "model", "size", "dtype", "ranks", "frames", "steps",
               "latency s", "latency / base", "paper's", "memory MiB", "memory / base", "paper's", "work / base",
               "note"}};
  for (const auto& key : order) {
    if (!bases.contains(key)) continue;
    const ResultGroup& of = *bases.at(key);
    const ResultGroup* rival = fastest_rival(sets.at(key), base);
    const auto typical = [](const ResultGroup& group, const Figure& figure) { return median(group.values(figure)); };
    for (const ResultGroup* group : sets.at(key)) {
      const double latency = typical(*group, latency_s), memory = typical(*group, bytes);
      const bool headline = base == "dualparal" && group->first.strategy != base && is_headline(*group);
      std::string note = group == &of ? "base" : group->note();
      if (group == &of && !of.note().empty()) note = "base, " + of.note();
      if (group == rival) note = "fastest other strategy";
      const ResultLine& line = group->first;
      table.push_back({line.strategy, group->options(), group->kind(), group->machine(), shown(line.model),
                       group->size(), shown(line.dtype), shown(line.world_size), shown(line.frames), shown(line.steps),
                       number(latency, 3), latency_ratio(*group, of, latency_s), headline ? kPaperLatency : "",
                       number(memory / (1 << 20), 1), number(memory / typical(of, bytes), 2),
                       headline ? kPaperMemory : "", number(typical(*group, flops) / typical(of, flops), 2), note});
    }
  }
  return without_idle_columns(table, {"machine"});
}

}  // namespace dualparal
