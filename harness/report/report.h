// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "harness/report/baselines.h"
#include "harness/report/paired_difference.h"

namespace dualparal {

struct ReportOptions {
  std::vector<std::filesystem::path> results;  ///< result files, or folders with a results.jsonl
  std::string title = "Results";
  Baselines baselines = {};
  size_t fewest_pairs = kFewestPairs;  ///< below it, tables of quality say "cannot tell", or nothing
};

/// report.md and report.tex in `folder`, from result lines alone: medians and ranges over repeats, means and confidence
/// intervals over prompts and seeds, failed and skipped points as rows with their reason; in Markdown, figures
/// (figures/*.png beside the report) and videos where there are any.
void write_report(const ReportOptions& options, const std::filesystem::path& folder);

/// The Markdown text.
std::string markdown_report(const ReportOptions& options, const std::filesystem::path& folder);

}  // namespace dualparal
