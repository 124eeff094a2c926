// SPDX-License-Identifier: Apache-2.0
#include "harness/report/report_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

namespace dualparal {
namespace {

std::string replaced(const std::string& text, const std::map<char, std::string>& by) {
  std::string out;
  for (const char c : text) {
    const auto found = by.find(c);
    out += found == by.end() ? std::string(1, c) : found->second;
  }
  return out;
}

std::string latex_text(const std::string& text) {
  static const std::map<char, std::string> special = {{'_', "\\_"},
                                                      {'%', "\\%"},
                                                      {'&', "\\&"},
                                                      {'#', "\\#"},
                                                      {'$', "\\$"},
                                                      {'{', "\\{"},
                                                      {'}', "\\}"},
                                                      {'~', "\\textasciitilde{}"},
                                                      {'^', "\\textasciicircum{}"},
                                                      {'\\', "\\textbackslash{}"},
                                                      {'\n', " "}};
  std::string out = replaced(text, special);
  const std::string sign = "±";
  for (size_t at = out.find(sign); at != std::string::npos; at = out.find(sign)) out.replace(at, sign.size(), "$\\pm$");
  return out;
}

bool is_left(size_t column, size_t left, const Table& table) { return column < left || table[0][column] == "note"; }

}  // namespace

Table without_idle_columns(const Table& table, const std::vector<std::string>& if_varied) {
  std::vector<size_t> kept;
  for (size_t c = 0; c < table[0].size(); ++c) {
    std::set<std::string> seen;
    for (size_t r = 1; r < table.size(); ++r) seen.insert(table[r][c]);
    const bool always = std::ranges::find(if_varied, table[0][c]) == if_varied.end();
    if (always ? seen != std::set<std::string>{""} : seen.size() > 1) kept.push_back(c);
  }
  Table out;
  for (const auto& row : table) {
    out.emplace_back();
    for (const size_t c : kept) out.back().push_back(row[c]);
  }
  return out;
}

std::string markdown_table(const Table& table, size_t left) {
  std::string text;
  for (size_t r = 0; r < table.size(); ++r) {
    std::vector<std::string> cells;
    for (const auto& cell : table[r]) cells.push_back(replaced(cell, {{'|', "\\|"}, {'\n', " "}}));
    text += fmt::format("| {} |\n", fmt::join(cells, " | "));
    if (r > 0) continue;
    text += "|";
    for (size_t c = 0; c < cells.size(); ++c) text += is_left(c, left, table) ? "---|" : "---:|";
    text += "\n";
  }
  return text;
}

std::string latex_table(const Table& table, size_t left, const std::string& title) {
  std::string columns;
  for (size_t c = 0; c < table[0].size(); ++c) columns += is_left(c, left, table) ? 'l' : 'r';
  std::string text = "% " + replaced(title, {{'\n', " "}}) + "\n\\begin{tabular}{" + columns + "}\n\\hline\n";
  for (size_t r = 0; r < table.size(); ++r) {
    std::vector<std::string> cells;
    for (const auto& cell : table[r]) cells.push_back(latex_text(cell));
    text += fmt::format("{} \\\\\n", fmt::join(cells, " & "));
    if (r == 0) text += "\\hline\n";
  }
  return text + "\\hline\n\\end{tabular}\n";
}

}  // namespace dualparal
