// SPDX-License-Identifier: Apache-2.0
// The fields of a result line of several videos that come from when each began and became final.
#pragma once

#include "harness/record/result_line.h"
#include "harness/trace/rank_trace.h"

namespace dualparal {

/// videos_per_s, video_latency_s, video_first_block_s, per_video of a line with `videos`, from what rank 0 did, or the
/// first rank of each replica; a line without stays as it is. traces, sums: of all ranks (RankTrace::summed()). Error
/// if they do not have so many videos.
void set_video_fields(ResultLine& line, const std::vector<RankTrace>& traces, const std::vector<EventSums>& sums);

}  // namespace dualparal
