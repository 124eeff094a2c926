// SPDX-License-Identifier: Apache-2.0
// Result lines of an experiment that a folder has from before.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "harness/record/result_line.h"

namespace dualparal {

/// Lines of a file that need not be there; a last one that was cut off is set aside. Results of another program are
/// none of this one's: with `restart` all lines are set aside, without they are a UsageError.
std::vector<ResultLine> lines_so_far(const std::filesystem::path& file, bool restart);

/// Videos and timelines that lines name whose points have none of these keys: of points that a changed experiment has
/// no more.
std::set<std::string> files_of_others(const std::vector<ResultLine>& lines, const std::set<std::string>& keys);

}  // namespace dualparal
