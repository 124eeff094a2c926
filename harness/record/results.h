// SPDX-License-Identifier: Apache-2.0
// Files of result lines.
#pragma once

#include <filesystem>
#include <vector>

#include "harness/record/result_line.h"

namespace dualparal {

/// Appends a line in a single write, and flushes it to disk.
void append_result(const std::filesystem::path& file, const ResultLine& line);

/// All lines of a results file; those that begin with # are comments. A last line that was cut off by a kill is left
/// out; one in between that is not JSON (a disk was full, then went on) is left out with a warning on standard error.
/// Error that names the line for JSON that is no result, or of another schema.
std::vector<ResultLine> read_results(const std::filesystem::path& file);

/// Makes the file end after its last whole line, so that lines can be appended again after a kill. What was cut off is
/// kept in FILE.unfinished.
void set_unfinished_line_aside(const std::filesystem::path& file);

}  // namespace dualparal
