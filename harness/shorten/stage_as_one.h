// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "harness/trace/rank_trace.h"

namespace dualparal {

/// The trace of the first rank of a stage as that of the stage: of so many ranks, neighbours, that hold the same layers
/// and share every window's tokens. What it exchanges with them from one computation to the next is one event
/// (Event::Kind::kExchange), of as many bytes as go one way at most; other ranks are named by the number of their
/// stage. rank: its number among all. Where heads do not divide by the ranks, the first have most: it is the one that
/// the others wait for.
RankTrace stage_as_one(RankTrace trace, int64_t rank, int64_t ranks);

/// Error where stages send each other other numbers of messages than they take: their ranks do not all do the same.
void check_stages(const std::vector<RankTrace>& stages);

}  // namespace dualparal
