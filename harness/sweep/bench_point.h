// SPDX-License-Identifier: Apache-2.0
// A point of an experiment as calls of this program, files and result lines.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "harness/options/generate_options.h"
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

/// Its flags as options, not resolved. Wrong ones throw CLI::ParseError, or are left out.
enum class WrongFlags { kThrow, kLeaveOut };
GenerateOptions parse_flags(const Flags& flags, WrongFlags wrong = WrongFlags::kThrow);

/// A point that did not run to its end is a result, too: its line begins as that of any other, as far as it is known.
ResultLine unfinished_line(const Point& point, ResultStatus status, const std::string& error);

}  // namespace dualparal
