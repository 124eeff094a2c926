// SPDX-License-Identifier: Apache-2.0
#include "harness/report/csv.h"

#include <fmt/ranges.h>

#include <map>
#include <set>

namespace dualparal {
namespace {

using Json = nlohmann::ordered_json;

std::string value_text(const Json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::vector<std::string> texts;
  for (const Json& one : value) texts.push_back(value_text(one));
  return fmt::format("{}", fmt::join(texts, " "));
}

std::string cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

class Csv {
 public:
  void add(const ResultLine& line) {
    rows_.emplace_back();
    const Json fields = to_json(line);
    for (const auto& [name, value] : fields.items())
      if (name != "per_rank" && name != "sweep") fill(name, value);
  }

  std::string text() const {
    std::vector<std::string> names;
    for (const std::string& column : columns_) names.push_back(cell(column));
    std::string text = fmt::format("{}\n", fmt::join(names, ","));
    for (const auto& row : rows_) {
      std::vector<std::string> cells;
      for (const std::string& column : columns_) {
        const auto found = row.find(column);
        cells.push_back(found == row.end() ? "" : cell(found->second));
      }
      text += fmt::format("{}\n", fmt::join(cells, ","));
    }
    return text;
  }

 private:
  void fill(const std::string& name, const Json& value) {
    if (value.is_object()) {
      for (const auto& [key, inner] : value.items()) fill(name + "." + key, inner);
      return;
    }
    // An object that a line lacks is null there and is no column of its own.
    if (value.is_null() && kObjects.contains(name)) return;
    if (known_.insert(name).second) columns_.push_back(name);
    rows_.back()[name] = value_text(value);
  }

  static inline const std::set<std::string> kObjects = {
      "analytic_cost", "quality", "cluster", "config", "provenance", "video_latency_s", "video_first_block_s"};
  std::vector<std::string> columns_;  // in the order in which lines bring them
  std::set<std::string> known_;
  std::vector<std::map<std::string, std::string>> rows_;
};

}  // namespace

std::string csv_table(const std::vector<ResultLine>& lines) {
  Csv csv;
  for (const ResultLine& line : lines) csv.add(line);
  return csv.text();
}

}  // namespace dualparal
