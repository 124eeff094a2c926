// SPDX-License-Identifier: Apache-2.0
// Result lines of an experiment that a folder has from before.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "harness/record/result_line.h"

namespace dualparal {

/// Puts the last line of a file that need not be there into one beside it, if it was cut off; with `restart` all lines.
void set_lines_aside(const std::filesystem::path& file, bool restart);

/// Lines of a file that need not be there, but for a last one that was cut off. UsageError if there are results of
/// another program, which are none of this one's.
std::vector<ResultLine> lines_so_far(const std::filesystem::path& file);

/// Videos and timelines that lines name whose points have none of these keys: of points that a changed experiment has
/// no more.
std::set<std::string> files_of_others(const std::vector<ResultLine>& lines, const std::set<std::string>& keys);

}  // namespace dualparal
