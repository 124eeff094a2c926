// SPDX-License-Identifier: Apache-2.0
#include "harness/report/speedup.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/errors.h"
#include "harness/report/statistics.h"

namespace dualparal {
namespace {

// The abstract of arXiv 2505.21070: 1,025 frames on 8 RTX 4090, "up to". Its absolute figures could not be had.
constexpr const char* kPaperLatency = "up to 6.54";
constexpr const char* kPaperMemory = "up to 1.48";

std::string comparable_key(const ResultGroup& group) {
  std::string key = group.kind() + "|" + group.size();
  for (const char* field : {"model", "world_size", "device", "dtype", "frames", "steps"})
    key += "|" + group.text(field);
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

bool is_headline(const ResultGroup& group) { return group.text("world_size") == "8" && group.text("frames") == "1025"; }

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
    strategies.insert(group.text("strategy"));
    if (group.text("strategy") != base) continue;
    const ResultGroup*& chosen = bases[key];
    if (!chosen || (chosen->ok.empty() && !group.ok.empty())) chosen = &group;
  }
  check(!bases.empty(), "--baseline {}: no result of it; there are results of {}", base, fmt::join(strategies, ", "));

  Table table{{"strategy", "options", "kind", "machine", "model", "size", "dtype", "ranks", "frames", "steps",
               "latency s", "latency / base", "paper's", "memory MiB", "memory / base", "paper's", "work / base",
               "note"}};
  for (const auto& key : order) {
    if (!bases.contains(key)) continue;
    const ResultGroup& of = *bases.at(key);
    const auto figure = [](const ResultGroup& group, const char* pointer) { return median(group.values(pointer)); };
    for (const ResultGroup* group : sets.at(key)) {
      const double latency = figure(*group, "/latency_s"), memory = figure(*group, "/peak_memory_bytes");
      const bool headline = base == "dualparal" && group->text("strategy") != base && is_headline(*group);
      std::string note = group == &of ? "base" : group->note();
      if (group == &of && !of.note().empty()) note = "base, " + of.note();
      table.push_back({group->text("strategy"), group->options(), group->kind(), group->machine(), group->text("model"),
                       group->size(), group->text("dtype"), group->text("world_size"), group->text("frames"),
                       group->text("steps"), number(latency, 3), number(latency / figure(of, "/latency_s"), 2),
                       headline ? kPaperLatency : "", number(memory / (1 << 20), 1),
                       number(memory / figure(of, "/peak_memory_bytes"), 2), headline ? kPaperMemory : "",
                       number(figure(*group, "/flops") / figure(of, "/flops"), 2), note});
    }
  }
  return without_idle_columns(table, {"machine"});
}

}  // namespace dualparal
