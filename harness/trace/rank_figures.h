// SPDX-License-Identifier: Apache-2.0
// What the ranks' events say: how each spent its time, and the timeline.
#pragma once

#include <vector>

#include "base/json.h"
#include "harness/trace/rank_trace.h"

namespace dualparal {

/// How a rank spent the time from its begin to the slowest rank's end; the three add up to it.
struct RankFigures {
  double compute_s = 0;
  double communication_s = 0;  ///< waited although the other side had sent already (or could have received), or for
                               ///< copies to and from host memory
  double idle_s = 0;           ///< the rest: nothing to do yet, or any more
  double idle_within_s = 0;    ///< idle between its first and its last work
  double span_s = 0;           ///< from its first work to its last
  int64_t sent_bytes = 0;
};

/// By rank. The n-th receive of a channel between two ranks is the n-th send: what was waited before the sender had
/// anything to send is idle, the rest of the wait is communication.
std::vector<RankFigures> rank_figures(const std::vector<RankTrace>& traces);
/// The same, where the traces' summed() are there already.
std::vector<RankFigures> rank_figures(const std::vector<RankTrace>& traces, const std::vector<EventSums>& sums);

/// Idle between first and last work, of all ranks / the length of those spans.
double bubble_ratio(const std::vector<RankFigures>& figures);

/// Chrome's trace event format, which Perfetto opens: ranks as processes, one row each for computing and for waiting.
nlohmann::json chrome_trace(const std::vector<RankTrace>& traces);

}  // namespace dualparal
