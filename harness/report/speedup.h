// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "harness/report/report_groups.h"
#include "harness/report/report_table.h"

namespace dualparal {

/// Latency and memory of every strategy divided by those of `base`, among lines of the same kind, cluster, model, size,
/// frames, steps, device, dtype and number of ranks. Of several configurations of the base in such a set, the first is
/// the base. For base `dualparal`, 8 ranks and 1,025 frames, the paper's headline stands beside it.
/// Error, with the strategies that there are, if no line is of the base. The first 4 columns are words.
Table speedup_table(const std::vector<ResultGroup>& groups, const std::string& base);

}  // namespace dualparal
