// SPDX-License-Identifier: Apache-2.0
#include "harness/trace/rank_lines.h"

#include <algorithm>

#include "harness/record/replica_share.h"
#include "harness/trace/rank_figures.h"
#include "harness/trace/video_times.h"

namespace dualparal {
namespace {

template <class T>
std::optional<T> known(bool is_known, T value) {
  return is_known ? std::optional(value) : std::nullopt;
}

// When the first latents of the replica that was first were final, since the ranks began.
std::optional<double> first_output(const std::vector<RankTrace>& traces, const std::vector<EventSums>& sums,
                                   int64_t replicas) {
  std::optional<double> first;
  for (size_t rank = 0; rank < traces.size(); rank += traces.size() / static_cast<size_t>(replicas))
    if (const auto& outputs = sums[rank].outputs; !outputs.empty()) {
      const double own = outputs[0] - traces[rank].begin_s;
      first = std::min(first.value_or(own), own);
    }
  return first;
}

RankLine rank_line(const RankTrace& trace, const Work& work, const RankFigures& figures, ResultKind kind) {
  const bool together = kind == ResultKind::kMeasured || kind == ResultKind::kSimulated;
  const bool counted = work.operations > 0;
  return {.compute_s = known(together || kind == ResultKind::kEmulated, figures.compute_s),
          .communication_s = known(together, figures.communication_s),
          .idle_s = known(together, figures.idle_s),
          .sent_bytes = figures.sent_bytes,
          .peak_memory_bytes = trace.peak_memory_bytes,
          .peak_reserved_bytes = trace.peak_reserved_bytes,
          .process_memory_bytes = known(trace.process_memory_bytes > 0, trace.process_memory_bytes),
          .device_used_bytes = known(trace.device_used_bytes > 0, trace.device_used_bytes),
          .device_allocations = known(trace.device_allocations >= 0, trace.device_allocations),
          .host_cache_bytes = trace.host_cache_bytes,
          .weights_bytes = trace.weights_bytes,
          .flops = known(counted, work.flops()),
          .matmul_flops = known(counted, work.matmul_flops),
          .attention_flops = known(counted, work.attention_flops),
          .moved_bytes = known(counted, work.moved_bytes),
          .clock_offset_s = known(kind == ResultKind::kMeasured, trace.clock_offset_s),
          .clock_error_s = known(kind == ResultKind::kMeasured, trace.clock_error_s)};
}

// The largest of the ranks' values; empty where no rank has one.
std::optional<int64_t> largest(const std::vector<RankLine>& ranks, std::optional<int64_t> RankLine::*field) {
  std::optional<int64_t> most;
  for (const RankLine& rank : ranks) most = std::max(most, rank.*field);
  return most;
}

}  // namespace

void set_rank_fields(ResultLine& line, const std::vector<RankTrace>& traces) {
  const bool together = line.kind == ResultKind::kMeasured || line.kind == ResultKind::kSimulated;
  std::vector<EventSums> sums;
  for (const RankTrace& trace : traces) sums.push_back(trace.summed());
  const auto figures = rank_figures(traces, sums);
  double latency = 0, flops = 0;
  int64_t sent = 0;
  line.per_rank.clear();
  for (size_t rank = 0; rank < traces.size(); ++rank) {
    const RankTrace& trace = traces[rank];
    latency = std::max(latency, trace.latency_s());
    sent += figures[rank].sent_bytes * trace.ranks;
    flops += sums[rank].work.flops() * static_cast<double>(trace.ranks);
    line.per_rank.insert(line.per_rank.end(), static_cast<size_t>(trace.ranks),
                         rank_line(trace, sums[rank].work, figures[rank], line.kind));
  }
  line.latency_s = known(together, latency);
  line.first_block_s = together ? first_output(traces, sums, replicas_in(line)) : std::nullopt;
  line.samples = together ? std::vector{latency} : std::vector<double>{};
  line.peak_memory_bytes = largest(line.per_rank, &RankLine::peak_memory_bytes);
  line.reserved_bytes = largest(line.per_rank, &RankLine::peak_reserved_bytes);
  line.process_memory_bytes = largest(line.per_rank, &RankLine::process_memory_bytes);
  line.device_used_bytes = largest(line.per_rank, &RankLine::device_used_bytes);
  line.host_cache_bytes = largest(line.per_rank, &RankLine::host_cache_bytes);
  line.sent_bytes = sent;
  line.flops = known(flops > 0, flops);
  line.bubble_ratio = known(together, bubble_ratio(figures));
  if (together) set_video_fields(line, traces, sums);
}

}  // namespace dualparal
