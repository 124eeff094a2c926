// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace dualparal {

/// Plain text, row by row; the first row is the header.
using Table = std::vector<std::vector<std::string>>;

/// Without the columns that say nothing: empty in every row, or the same in every row for the names in `if_varied`.
Table without_idle_columns(const Table& table, const std::vector<std::string>& if_varied);

/// The first `left` columns and a column `note` are set to the left, the others to the right.
std::string markdown_table(const Table& table, size_t left);
std::string latex_table(const Table& table, size_t left, const std::string& title);

}  // namespace dualparal
