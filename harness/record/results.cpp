// SPDX-License-Identifier: Apache-2.0
#include "harness/record/results.h"

#include "base/errors.h"
#include "base/files.h"
#include "base/parse_json.h"

namespace dualparal {
namespace fs = std::filesystem;

void append_result(const fs::path& file, const ResultLine& line) { append_line(file, to_json(line).dump()); }

std::vector<ResultLine> read_results(const fs::path& file) {
  const std::string content = read_file(file);
  std::vector<ResultLine> lines;
  size_t begin = 0;
  for (int64_t number = 1; begin < content.size(); ++number) {
    const size_t newline = content.find('\n', begin);
    if (newline == std::string::npos) break;  // cut off while it was written
    const std::string text = content.substr(begin, newline - begin);
    begin = newline + 1;
    if (text.empty() || text[0] == '#') continue;
    nlohmann::ordered_json json;
    try {
      json = parse_json<nlohmann::ordered_json>(text);
    } catch (const nlohmann::json::exception& error) {
      fmt::print(stderr, "warning: {}:{}: left out, not JSON: {}\n", file.string(), number, error.what());
      continue;
    }
    try {
      lines.push_back(result_line_of(json));
    } catch (const Error& error) {
      fail("{}:{}: {}", file.string(), number, error.what());
    }
  }
  return lines;
}

void set_unfinished_line_aside(const fs::path& file) {
  if (!fs::exists(file)) return;
  const std::string content = read_file(file);
  const size_t last = content.rfind('\n');
  const size_t whole = last == std::string::npos ? 0 : last + 1;
  if (whole == content.size()) return;
  append_line(file.string() + ".unfinished", content.substr(whole));
  fs::resize_file(file, whole);
}

}  // namespace dualparal
