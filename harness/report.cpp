// SPDX-License-Identifier: Apache-2.0
#include "harness/report.h"

#include <algorithm>
#include <map>
#include <set>

#include "harness/results.h"
#include "runtime/errors.h"
#include "runtime/files.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

// All repeats of one point.
struct Group {
  Json first;
  std::vector<Json> ok;
};

// Repeats agree in everything that was asked for.
std::string group_key(const Json& r) {
  const auto field = [&](const char* name) { return r.contains(name) ? r[name].dump() : ""; };
  std::string key;
  for (const char* name : {"kind", "strategy", "options", "world_size", "model", "device", "dtype", "frames", "height",
                           "width", "steps", "error"})
    key += field(name) + "|";
  return key;
}

std::vector<Group> group_results(const std::vector<Json>& records) {
  std::vector<Group> groups;
  std::map<std::string, size_t> index;
  for (const auto& record : records) {
    const auto [place, is_new] = index.emplace(group_key(record), groups.size());
    if (is_new) groups.push_back({record, {}});
    if (record.value("status", "") == "ok") groups[place->second].ok.push_back(record);
  }
  return groups;
}

double number_at(const Json& record, const std::string& pointer) {
  const auto path = Json::json_pointer(pointer);
  return record.contains(path) && record[path].is_number() ? record[path].get<double>() : std::nan("");
}

struct Column {
  std::string title;
  std::string pointer;  // JSON pointer into the record
  double scale;         // multiplied with the value
  int digits;
  bool spread;          // show minimum and maximum over repeats
};

const std::vector<Column> kColumns = {
    {"latency s", "/latency_s", 1, 3, true},
    {"first block s", "/first_block_s", 1, 3, false},
    {"decode s", "/decode_s", 1, 3, false},
    {"memory MiB", "/peak_memory_bytes", 1.0 / (1 << 20), 1, false},
    {"weights MiB", "/per_rank/0/weights_bytes", 1.0 / (1 << 20), 1, false},
    {"sent MiB", "/sent_bytes", 1.0 / (1 << 20), 1, false},
    {"sent by formula", "/analytic_cost/sent_bytes", 1.0 / (1 << 20), 1, false},
    {"idle", "/bubble_ratio", 1, 3, false},
    {"idle by slots", "/bubble_ratio_slots", 1, 3, false},
    {"flicker", "/quality/flicker", 1, 4, false},
    {"seam ratio", "/quality/seam_ratio", 1, 3, false},
    {"drift", "/quality/drift", 1, 4, false},
    {"content", "/quality/content", 1, 3, false},
};

std::string cell(const Group& group, const Column& column) {
  std::vector<double> values;
  for (const auto& record : group.ok) {
    const double value = number_at(record, column.pointer) * column.scale;
    if (!std::isnan(value)) values.push_back(value);
  }
  if (values.empty()) return "";
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  const double median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  std::string text = fmt::format("{:.{}f}", median, column.digits);
  if (column.spread && n > 1)
    text += fmt::format(" ({:.{}f}-{:.{}f})", values.front(), column.digits, values.back(), column.digits);
  return text;
}

std::string options_text(const Json& record) {
  std::vector<std::string> parts;
  if (record.contains("options"))
    for (const auto& [name, value] : record["options"].items())
      parts.push_back(name + "=" + (value.is_string() ? value.get<std::string>() : value.dump()));
  return fmt::format("{}", fmt::join(parts, " "));
}

// Header and rows as plain text cells. Columns without any value are left out.
std::vector<std::vector<std::string>> table(const std::vector<Group>& groups) {
  std::vector<std::string> header{"strategy", "options", "ranks", "dtype", "frames", "steps", "kind", "n"};
  std::vector<const Column*> shown;
  for (const auto& column : kColumns)
    if (std::any_of(groups.begin(), groups.end(), [&](const Group& g) { return !cell(g, column).empty(); })) {
      shown.push_back(&column);
      header.push_back(column.title);
    }
  header.push_back("note");
  std::vector<std::vector<std::string>> rows{header};
  for (const auto& group : groups) {
    const Json& r = group.first;
    const auto text = [&](const char* name) {
      if (!r.contains(name) || r[name].is_null()) return std::string("?");
      return r[name].is_string() ? r[name].get<std::string>() : r[name].dump();
    };
    std::vector<std::string> row{text("strategy"), options_text(r), text("world_size"), text("dtype"),
                                 text("frames"), text("steps"), text("kind"), std::to_string(group.ok.size())};
    for (const auto* column : shown) row.push_back(cell(group, *column));
    row.push_back(text("status") == "ok" ? "" : text("status") + ": " + text("error"));
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string escape(std::string text, const std::string& special, const std::string& prefix) {
  std::string out;
  for (const char c : text) {
    if (special.find(c) != std::string::npos) out += prefix;
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string latex_table(const std::vector<std::vector<std::string>>& rows, const std::string& title) {
  const auto line = [](const std::vector<std::string>& cells) {
    std::vector<std::string> escaped;
    for (const auto& c : cells) escaped.push_back(escape(c, "_%&#$", "\\"));
    return fmt::format("{} \\\\\n", fmt::join(escaped, " & "));
  };
  std::string text = "% " + title + "\n\\begin{tabular}{ll" + std::string(rows[0].size() - 2, 'r') + "}\n\\hline\n";
  for (size_t i = 0; i < rows.size(); ++i) text += line(rows[i]) + (i == 0 ? "\\hline\n" : "");
  return text + "\\hline\n\\end{tabular}\n";
}

std::string provenance_text(const std::vector<Json>& records) {
  std::set<std::string> lines;
  for (const auto& r : records) {
    if (!r.contains("provenance")) continue;
    const auto& p = r["provenance"];
    const auto& code = p["code"];
    lines.insert(fmt::format(
        "- {} on {}{}, {} CPU threads, LibTorch {}, commit {}{}", p.value("date", "").substr(0, 10), p.value("cpu", ""),
        p["gpu"].is_string() ? ", " + p["gpu"].get<std::string>() : "", p.value("cpu_threads", 0),
        p.value("libtorch", ""), code["commit"].is_string() ? code["commit"].get<std::string>().substr(0, 12) : "unknown",
        code["dirty"] == true ? " with uncommitted changes" : ""));
  }
  return fmt::format("{}\n", fmt::join(lines, "\n"));
}

std::vector<Json> read_all(const std::vector<fs::path>& files) {
  std::vector<Json> records;
  for (const auto& file : files) {
    const fs::path lines = fs::is_directory(file) ? file / "results.jsonl" : file;
    for (auto& record : read_results(lines)) records.push_back(std::move(record));
  }
  check(!records.empty(), "{}: no result lines", files.empty() ? "report" : files[0].string());
  return records;
}

std::string render_markdown(const std::vector<Json>& records, const fs::path& folder, const std::string& title) {
  const auto rows = table(group_results(records));
  std::string text = "# " + title + "\n\n";
  text += "Latency: denoising, wall clock of the slowest rank, median (minimum-maximum) of n runs. Memory: highest "
          "allocated by any rank while denoising, weights included. Definitions: docs/metrics.md.\n\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<std::string> cells;
    for (const auto& c : rows[i]) cells.push_back(escape(c, "|", "\\"));
    text += fmt::format("| {} |\n", fmt::join(cells, " | "));
    if (i == 0) text += "|" + std::string("---|---|") + [&] {
      std::string dashes;
      for (size_t k = 2; k < rows[0].size(); ++k) dashes += "---:|";
      return dashes;
    }() + "\n";
  }
  const auto list = [&](const char* sub, const char* extension) {
    std::vector<std::string> names;
    if (fs::is_directory(folder / sub))
      for (const auto& item : fs::directory_iterator(folder / sub))
        if (item.path().extension() == extension) names.push_back(std::string(sub) + "/" + item.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  };
  const auto figures = list("figures", ".png");
  if (!figures.empty()) text += "\n## Figures\n\n";
  for (const auto& name : figures) text += fmt::format("![{}]({})\n\n", fs::path(name).stem().string(), name);
  const auto videos = list("videos", ".mp4");
  if (!videos.empty()) text += "\n## Videos\n\n";
  for (const auto& name : videos) text += fmt::format("- [{}]({})\n", fs::path(name).stem().string(), name);
  return text + "\n## Provenance\n\n" + provenance_text(records);
}

}  // namespace

std::string markdown_report(const std::vector<fs::path>& results, const fs::path& folder, const std::string& title) {
  return render_markdown(read_all(results), folder, title);
}

void write_report(const std::vector<fs::path>& results, const fs::path& markdown, const fs::path& latex,
                  const std::string& title) {
  const auto records = read_all(results);
  const fs::path folder = markdown.has_parent_path() ? markdown.parent_path() : fs::path(".");
  if (!markdown.empty()) write_file(markdown, render_markdown(records, folder, title));
  if (!latex.empty()) write_file(latex, latex_table(table(group_results(records)), title));
}

}  // namespace dualparal
