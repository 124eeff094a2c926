// SPDX-License-Identifier: Apache-2.0
// A point of an experiment as calls of this program, files and result lines.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "harness/record/result_line.h"
#include "harness/sweep/experiment.h"

namespace dualparal {

/// Flags that differ between the points of an experiment: what a file's name must tell.
std::set<std::string> varied_flags(const Experiment& experiment);

/// A point's file, relative to the results' folder.
std::filesystem::path point_file(const char* folder, const Point& point, const std::set<std::string>& varied,
                                 const char* extension);

/// Its flags as arguments.
std::vector<std::string> flag_arguments(const Flags& flags);

/// A point that did not run to its end is a result, too: its line begins as that of any other, as far as it is known.
ResultLine unfinished_line(const Point& point, ResultStatus status, const std::string& error);

}  // namespace dualparal
