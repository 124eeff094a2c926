// SPDX-License-Identifier: Apache-2.0
// What a rank did while it denoised, and the files that hold it (`--traces DIR`, docs/simulation.md).
#pragma once

#include <filesystem>
#include <vector>

#include "comm/recorder.h"
#include "harness/record/result_line.h"

namespace dualparal {

/// What a rank knows of its denoising when it is over.
struct RankTrace {
  bool timed = true;              ///< whether the events' times mean anything; a trace of shapes has none
  double begin_s = 0, end_s = 0;  ///< event clock, from behind the barrier to the rank's last work
  std::vector<Event> events = {};
  int64_t peak_memory_bytes = 0, peak_reserved_bytes = 0, weights_bytes = 0;
  int64_t process_memory_bytes = 0, device_used_bytes = 0;  ///< 0: not known
  int64_t device_allocations = -1;                          ///< of device memory, meanwhile; -1: not known

  double clock_offset_s = 0, clock_error_s = 0;  ///< added to its own clock to have rank 0's; how far off that may be

  /// Moves all its times.
  void shift(double seconds);
  /// Of all its computations.
  Work work() const;

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

/// Error that names the file (and line) for anything missing, cut off or unknown.
TraceSet read_traces(const std::filesystem::path& dir);

}  // namespace dualparal
