// SPDX-License-Identifier: Apache-2.0
// What an option, a strategy or a video's length does to quality: tables of paired differences, a row for each thing
// compared and each quality figure.
#pragma once

#include <string>
#include <vector>

#include "harness/report/paired_difference.h"
#include "harness/report/report_groups.h"
#include "harness/report/report_table.h"

namespace dualparal {

struct PairedTable {
  std::string title;
  std::string difference;  ///< of what: "variant less default"
  Table rows;              ///< the first kPairedWords columns are words, the last of them the verdict
};

constexpr size_t kPairedWords = 3;

// Compared are only lines of the same kind, machine or cluster, model, size, steps, device and dtype.

/// Variants of `strategy` against its default options, at the same number of frames and ranks.
/// Error if there is no pair of a variant with the default, and for fewest_pairs below 2.
PairedTable variant_pairs(const std::vector<ResultGroup>& groups, const std::string& strategy, size_t fewest_pairs);

/// All others against `base` with its default options, at the same number of frames; ranks may differ. Only what has
/// pairs enough for a verdict: no rows, if nothing has.
PairedTable strategy_pairs(const std::vector<ResultGroup>& groups, const std::string& base, size_t fewest_pairs);

/// Videos of every other length against those of `frames`, of the same strategy, options and number of ranks.
/// Error if there is no such pair, and for fewest_pairs below 2.
PairedTable length_pairs(const std::vector<ResultGroup>& groups, int64_t frames, size_t fewest_pairs);

/// With its title and what its words mean.
std::string markdown_section(const PairedTable& table);

}  // namespace dualparal
