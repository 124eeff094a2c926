// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "harness/record/result_line.h"

namespace dualparal {

/// Result lines for spreadsheets and data frames (RFC 4180, but lines end with "\n"): a header, then a row a line.
/// Fields keep their names and units; those of an object have its name before theirs ("quality.psnr_db",
/// "config.steps"), the values of a list stand in one cell, with a space between them. Empty: null, or no such field.
/// Left out: `per_rank` and `sweep`, lists and objects of which each line has others.
std::string csv_table(const std::vector<ResultLine>& lines);

}  // namespace dualparal
