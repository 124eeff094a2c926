// SPDX-License-Identifier: Apache-2.0
// What a rank did while it denoised, and the files that hold it (`--traces DIR`, docs/simulation.md).
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "comm/recorder.h"
#include "harness/record/result_line.h"
#include "harness/trace/event_sums.h"

namespace dualparal {

/// Events [begin, end) of a trace stand for `times` times the same, one after the other.
struct Repeat {
  size_t begin = 0, end = 0;
  int64_t times = 1;
  /// From one time to the next: how much the numbers of blocks and steps, and what is allocated, grow.
  int64_t blocks = 0, steps = 0, live_bytes = 0;
  double period_s = 0;  ///< the same of times, where the trace has some
};

/// What a rank knows of its denoising when it is over.
struct RankTrace {
  bool timed = true;              ///< whether the events' times mean anything; a trace of shapes has none
  double begin_s = 0, end_s = 0;  ///< event clock, from behind the barrier to the rank's last work
  std::vector<Event> events = {};
  std::optional<EventSums> sums = {};  ///< in place of events that were not kept
  int64_t peak_memory_bytes = 0, peak_reserved_bytes = 0, weights_bytes = 0;
  int64_t process_memory_bytes = 0, device_used_bytes = 0;  ///< 0: not known
  int64_t device_allocations = -1;                          ///< of device memory, meanwhile; -1: not known
  int64_t host_cache_bytes = 0;  ///< of the host's memory, taken at most by what belongs on the device

  int64_t ranks = 1;  ///< that do as this one does: all of a stage (harness/shorten/stage_as_one.h)

  double clock_offset_s = 0, clock_error_s = 0;  ///< added to its own clock to have rank 0's; how far off that may be

  /// A section that stands for many (harness/trace/repeated_section.h). Labels behind it count them; times, end_s among
  /// them, are as if it happened once.
  std::optional<Repeat> repeat = {};

  /// How often an event happens.
  int64_t times(size_t event) const {
    return repeat && repeat->begin <= event && event < repeat->end ? repeat->times : 1;
  }
  /// How much later all is that comes behind the section.
  double repeated_s() const { return repeat ? static_cast<double>(repeat->times - 1) * repeat->period_s : 0; }
  /// From its begin to its last work, all of it.
  double latency_s() const { return end_s - begin_s + repeated_s(); }

  /// Moves all its times.
  void shift(double seconds);
  /// Of all its events.
  EventSums summed() const;
  /// Moves the numbers of all ranks that it exchanges messages with.
  void move_peers(int64_t ranks);

  /// All in one text: how ranks give it to each other.
  std::string to_text() const;
  static RankTrace from_text(const std::string& text);
};

/// A run's traces: DIR/run.json (its result line) and DIR/rank_00000.jsonl, ... An older set there is replaced.
void write_traces(const std::filesystem::path& dir, const std::vector<RankTrace>& traces, const ResultLine& run);

struct TraceSet {
  ResultLine run;
  std::vector<RankTrace> ranks;
};

/// Error that names the file (and line) for anything missing, cut off or unknown, and for sums in place of events.
TraceSet read_traces(const std::filesystem::path& dir);

}  // namespace dualparal
