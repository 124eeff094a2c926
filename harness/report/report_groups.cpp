// SPDX-License-Identifier: Apache-2.0
#include "harness/report/report_groups.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>

#include "base/errors.h"
#include "harness/options/strategies.h"
#include "harness/record/results.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

std::string cluster_of(const Json& record) {
  const auto found = record.find("cluster");
  if (found == record.end() || found->is_null()) return "";
  if (found->is_object()) return found->value("name", "");
  return found->is_string() ? found->get<std::string>() : found->dump();
}

std::string machine_of(const Json& record) {
  const auto provenance = record.find("provenance");
  if (provenance == record.end() || !provenance->is_object() || !cluster_of(record).empty()) return "";
  return text_at(*provenance, record.value("device", "cpu") == "cpu" ? "cpu" : "gpu");
}

std::string group_key(const Json& record) {
  std::string key = cluster_of(record) + "|" + machine_of(record) + "|";
  for (const char* name : {"kind", "strategy", "options", "world_size", "model", "device", "dtype", "frames", "height",
                           "width", "steps", "status", "error"})
    key += (record.contains(name) ? record[name].dump() : "") + "|";
  return key;
}

// Lines that differ in it are independent samples; lines that agree are repeats.
std::string sample_key(const Json& record) {
  std::string key = record.contains("seed") ? record["seed"].dump() : "";
  for (const char* name :
       {"/config/prompt", "/config/negative_prompt", "/config/prompt_embeds", "/config/initial_noise"}) {
    const Json::json_pointer pointer(name);
    key += "|" + (record.contains(pointer) ? record[pointer].dump() : "");
  }
  return key;
}

std::optional<double> number_at(const Json& record, const std::string& pointer) {
  const Json::json_pointer path(pointer);
  if (!record.contains(path) || !record[path].is_number()) return std::nullopt;
  return record[path].get<double>();
}

}  // namespace

std::string text_at(const Json& object, const char* key, const std::string& otherwise) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : otherwise;
}

std::string ResultGroup::text(const char* field) const {
  if (!first.contains(field) || first[field].is_null()) return "?";
  return first[field].is_string() ? first[field].get<std::string>() : first[field].dump();
}

std::string ResultGroup::kind() const {
  const std::string cluster = cluster_of(first);
  return cluster.empty() ? text("kind") : text("kind") + " on " + cluster;
}

std::string ResultGroup::size() const { return text("height") + "x" + text("width"); }

std::string ResultGroup::machine() const { return machine_of(first); }

std::string ResultGroup::options() const {
  OptionValues defaults;
  for (const StrategyEntry& entry : strategies())
    if (entry.name == text("strategy"))
      for (const OptionSpec& spec : entry.options) defaults[spec.name] = spec.default_value;
  std::vector<std::string> parts;
  if (first.contains("options"))
    for (const auto& [name, value] : first["options"].items()) {
      const std::string chosen = value.is_string() ? value.get<std::string>() : value.dump();
      const auto found = defaults.find(name);
      if (found == defaults.end() || found->second != chosen) parts.push_back(name + "=" + chosen);
    }
  return fmt::format("{}", fmt::join(parts, " "));
}

std::string ResultGroup::note() const { return text("status") == "ok" ? "" : text("status") + ": " + text("error"); }

std::vector<double> ResultGroup::values(const std::string& pointer) const {
  std::vector<double> out;
  for (const auto& record : ok)
    if (const auto value = number_at(record, pointer)) out.push_back(*value);
  return out;
}

std::vector<double> ResultGroup::samples(const std::string& pointer) const {
  std::map<std::string, std::vector<double>> by_sample;
  for (const auto& record : ok)
    if (const auto value = number_at(record, pointer)) by_sample[sample_key(record)].push_back(*value);
  std::vector<double> out;
  for (const auto& [sample, repeats] : by_sample)
    out.push_back(std::accumulate(repeats.begin(), repeats.end(), 0.0) / static_cast<double>(repeats.size()));
  return out;
}

size_t ResultGroup::sample_count() const {
  std::set<std::string> samples;
  for (const auto& record : ok) samples.insert(sample_key(record));
  return samples.size();
}

std::vector<Json> read_report_lines(const std::vector<fs::path>& files) {
  std::vector<Json> records;
  for (const auto& file : files) {
    std::map<std::string, size_t> places;  // point -> its line
    for (auto& record : read_results(fs::is_directory(file) ? file / "results.jsonl" : file)) {
      if (record.contains("point") && record["point"].is_string()) {
        const auto [place, is_new] = places.emplace(record["point"].get<std::string>(), records.size());
        if (!is_new) {
          records[place->second] = std::move(record);
          continue;
        }
      }
      records.push_back(std::move(record));
    }
  }
  check(!records.empty(), "{}: no result lines", files.empty() ? "report" : files[0].string());
  return records;
}

namespace {

// What is compared stands together, in the order of the table of strategies: lines come in the order in which they were
// done.
auto row_order(const ResultGroup& group) {
  const auto number = [&](const char* field) {
    return group.first.contains(field) && group.first[field].is_number() ? group.first[field].get<double>() : 0.0;
  };
  const auto& table = strategies();
  const auto place = std::ranges::find(table, group.text("strategy"), &StrategyEntry::name) - table.begin();
  return std::tuple(group.text("model"), group.size(), group.kind(), group.text("device"), number("frames"),
                    number("steps"), place, number("world_size"));
}

}  // namespace

std::vector<ResultGroup> group_results(const std::vector<Json>& records) {
  std::vector<ResultGroup> groups;
  std::map<std::string, size_t> index;
  for (const auto& record : records) {
    const auto [place, is_new] = index.emplace(group_key(record), groups.size());
    if (is_new) groups.push_back({record, {}});
    if (record.value("status", "") == "ok") groups[place->second].ok.push_back(record);
  }
  std::ranges::stable_sort(groups, {}, row_order);
  return groups;
}

}  // namespace dualparal
