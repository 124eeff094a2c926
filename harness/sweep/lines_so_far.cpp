// SPDX-License-Identifier: Apache-2.0
#include "harness/sweep/lines_so_far.h"

#include "base/errors.h"
#include "base/files.h"
#include "harness/record/provenance.h"
#include "harness/record/results.h"

namespace dualparal {
namespace fs = std::filesystem;

namespace {

// Where lines are set aside to: a name that is not taken.
fs::path aside_of(const fs::path& file) {
  fs::path aside = file;
  for (int64_t number = 1; fs::exists(aside); ++number)
    aside = file.parent_path() / fmt::format("results.before-{}.jsonl", number);
  return aside;
}

}  // namespace

void set_lines_aside(const fs::path& file, bool restart) {
  set_unfinished_line_aside(file);
  if (restart && fs::exists(file)) fs::rename(file, aside_of(file));
}

std::vector<ResultLine> lines_so_far(const fs::path& file) {
  if (!fs::exists(file)) return {};
  auto lines = read_results(file);
  for (const ResultLine& line : lines)
    check_usage(
        line.program_hash == program_hash(),
        "{}: has results of another program ({}, this one is {}): continue with that one, choose another folder "
        "(--output), or set them aside (--restart; to {})",
        file.string(), line.program_hash.value_or("not known"), program_hash(), aside_of(file).filename().string());
  return lines;
}

std::set<std::string> files_of_others(const std::vector<ResultLine>& lines, const std::set<std::string>& keys) {
  std::set<std::string> files;
  for (const ResultLine& line : lines) {
    if (keys.contains(line.point.value_or(""))) continue;
    for (const auto& file : {line.video, line.timeline})
      if (file) files.insert(*file);
  }
  return files;
}

}  // namespace dualparal
