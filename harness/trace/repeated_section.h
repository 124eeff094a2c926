// SPDX-License-Identifier: Apache-2.0
// Traces of which a section stands for many: what happens again and again is written once.
#pragma once

#include "harness/trace/rank_trace.h"

namespace dualparal {

constexpr int64_t kMostEvents = 20'000'000;  ///< that are written out, of all ranks: some GB

/// Whether two events are the same but for times and labels; work within rounding (it is a difference of running sums).
bool alike(const Event& a, const Event& b);

/// What marks where a section begins: the first work of a step, or of a block.
enum class SectionMark { kStep, kBlock };

/// Says of a trace that its work from step (or block) `first` to `first + length` happens `more` times more, and
/// numbers what comes behind it accordingly; peaks of memory are left to the caller. False, and the trace as it was, if
/// the section behind it is not alike. A rank that does nothing has no sections and stays as it is.
bool repeat_section(RankTrace& trace, SectionMark mark, int64_t first, int64_t length, int64_t more);

/// The repeated section written out so often in front of the one that goes on standing for many, and behind it. Error
/// where it does not happen that often, or where there would be more than `most` events. Traces without one as they
/// are.
RankTrace written_out(const RankTrace& trace, int64_t before, int64_t behind, int64_t most = kMostEvents);

/// All written out: what the whole run's trace would be. Error where it would have more than `most` events.
RankTrace expanded(const RankTrace& trace, int64_t most = kMostEvents);

}  // namespace dualparal
