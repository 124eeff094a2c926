// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace dualparal {

/// Tables from result lines alone: Markdown and LaTeX, median and spread over repeats, failed and skipped points as
/// rows with their reason, figures (figures/*.png beside the report) and videos where there are any.
/// An empty path leaves that file out.
void write_report(const std::vector<std::filesystem::path>& results, const std::filesystem::path& markdown,
                  const std::filesystem::path& latex, const std::string& title);

/// The Markdown text.
std::string markdown_report(const std::vector<std::filesystem::path>& results, const std::filesystem::path& folder,
                            const std::string& title);

}  // namespace dualparal
