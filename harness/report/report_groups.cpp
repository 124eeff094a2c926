// SPDX-License-Identifier: Apache-2.0
#include "harness/report/report_groups.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "base/errors.h"
#include "harness/options/strategies.h"
#include "harness/record/results.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

std::string cluster_of(const ResultLine& line) { return line.cluster ? line.cluster->name : ""; }

std::string machine_of(const ResultLine& line) {
  if (!cluster_of(line).empty()) return "";
  return text_at(line.provenance, line.device.value_or("cpu") == "cpu" ? "cpu" : "gpu");
}

std::string group_key(const ResultLine& l) {
  std::vector<std::string> parts{cluster_of(l),         machine_of(l),       kind_name(l.kind), l.strategy,
                                 l.options.dump(),      shown(l.model),      shown(l.device),   shown(l.dtype),
                                 status_name(l.status), l.error.value_or("")};
  for (const auto& number : {l.world_size, l.frames, l.height, l.width, l.steps}) parts.push_back(shown(number));
  return fmt::format("{}", fmt::join(parts, "|"));
}

// Lines that differ in it are independent samples; lines that agree are repeats.
std::string sample_key(const ResultLine& line) {
  std::string key = line.seed ? std::to_string(*line.seed) : "";
  for (const char* name : {"prompt", "negative_prompt", "prompt_embeds", "initial_noise"})
    key += "|" + text_at(line.config, name);
  return key;
}

}  // namespace

Figure quality(const std::string& name) {
  return [name](const ResultLine& line) { return quality_figure(line, name); };
}

std::string shown(const std::optional<std::string>& value) { return value.value_or("?"); }
std::string shown(const std::optional<int64_t>& value) { return value ? std::to_string(*value) : "?"; }

std::string text_at(const nlohmann::ordered_json& object, const char* key, const std::string& otherwise) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : otherwise;
}

std::string ResultGroup::kind() const {
  const std::string cluster = cluster_of(first);
  return cluster.empty() ? kind_name(first.kind) : kind_name(first.kind) + " on " + cluster;
}

std::string ResultGroup::size() const { return shown(first.height) + "x" + shown(first.width); }

std::string ResultGroup::machine() const { return machine_of(first); }

std::string ResultGroup::options() const {
  OptionValues defaults;
  for (const StrategyEntry& entry : strategies())
    if (entry.name == first.strategy)
      for (const OptionSpec& spec : entry.options) defaults[spec.name] = spec.default_value;
  std::vector<std::string> parts;
  for (const auto& [name, value] : first.options.items()) {
    const std::string chosen = value.is_string() ? value.get<std::string>() : value.dump();
    const auto found = defaults.find(name);
    if (found == defaults.end() || found->second != chosen) parts.push_back(name + "=" + chosen);
  }
  return fmt::format("{}", fmt::join(parts, " "));
}

std::string ResultGroup::strategy_and_options() const {
  const std::string text = options();
  return text.empty() ? first.strategy : first.strategy + " " + text;
}

std::string ResultGroup::note() const {
  return first.status == ResultStatus::kOk ? "" : status_name(first.status) + ": " + shown(first.error);
}

std::vector<double> ResultGroup::values(const Figure& figure) const {
  std::vector<double> out;
  for (const ResultLine& line : ok)
    if (const auto value = figure(line)) out.push_back(*value);
  return out;
}

std::map<std::string, double> ResultGroup::by_sample(const Figure& figure) const {
  std::map<std::string, std::vector<double>> repeats;
  for (const ResultLine& line : ok)
    if (const auto value = figure(line)) repeats[sample_key(line)].push_back(*value);
  std::map<std::string, double> means;
  for (const auto& [sample, values] : repeats)
    means[sample] = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  return means;
}

std::vector<double> ResultGroup::samples(const Figure& figure) const {
  std::vector<double> out;
  for (const auto& [sample, mean] : by_sample(figure)) out.push_back(mean);
  return out;
}

std::vector<double> ResultGroup::latencies() const {
  std::vector<double> out;
  for (const ResultLine& line : ok)
    if (!line.samples.empty())
      out.insert(out.end(), line.samples.begin(), line.samples.end());
    else if (line.latency_s)
      out.push_back(*line.latency_s);
  return out;
}

size_t ResultGroup::sample_count() const {
  std::set<std::string> samples;
  for (const ResultLine& line : ok) samples.insert(sample_key(line));
  return samples.size();
}

std::vector<ResultLine> read_report_lines(const std::vector<fs::path>& files) {
  std::vector<ResultLine> lines;
  for (const auto& file : files) {
    std::map<std::string, size_t> places;  // point -> its line
    for (ResultLine& line : read_results(fs::is_directory(file) ? file / "results.jsonl" : file)) {
      if (line.point) {
        const auto [place, is_new] = places.emplace(*line.point, lines.size());
        if (!is_new) {
          lines[place->second] = std::move(line);
          continue;
        }
      }
      lines.push_back(std::move(line));
    }
  }
  check(!lines.empty(), "{}: no result lines", files.empty() ? "report" : files[0].string());
  return lines;
}

namespace {

// What is compared stands together, in the order of the table of strategies: lines come in the order in which they were
// done.
auto row_order(const ResultGroup& group) {
  const ResultLine& l = group.first;
  const auto& table = strategies();
  const auto place = std::ranges::find(table, l.strategy, &StrategyEntry::name) - table.begin();
  return std::tuple(shown(l.model), group.size(), group.kind(), shown(l.device), l.frames.value_or(0),
                    l.steps.value_or(0), place, l.world_size.value_or(0));
}

}  // namespace

std::vector<ResultGroup> group_results(const std::vector<ResultLine>& lines) {
  std::vector<ResultGroup> groups;
  std::map<std::string, size_t> index;
  for (const ResultLine& line : lines) {
    const auto [place, is_new] = index.emplace(group_key(line), groups.size());
    if (is_new) groups.push_back({line, {}});
    if (line.status == ResultStatus::kOk) groups[place->second].ok.push_back(line);
  }
  std::ranges::stable_sort(groups, {}, row_order);
  return groups;
}

}  // namespace dualparal
