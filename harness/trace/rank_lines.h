// SPDX-License-Identifier: Apache-2.0
// The fields of a result line that come from what the ranks did.
#pragma once

#include <vector>

#include "harness/record/result_line.h"
#include "harness/trace/rank_trace.h"

namespace dualparal {

/// latency_s, first_block_s, those of several videos, samples, per_rank, peaks of memory, sent_bytes, flops,
/// bubble_ratio. What the line's kind does not measure stays empty: emulated ranks compute in real time but do not wait
/// for each other, traced ones have no times.
void set_rank_fields(ResultLine& line, const std::vector<RankTrace>& traces);

}  // namespace dualparal
