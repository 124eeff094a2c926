// SPDX-License-Identifier: Apache-2.0
#include "harness/trace/rank_figures.h"

#include <algorithm>
#include <cmath>

namespace dualparal {
namespace {

using Kind = Event::Kind;

constexpr const char* kKindNames[] = {"compute", "send",    "receive",   "wait",      "output",
                                      "video",   "to_host", "from_host", "host_wait", "exchange"};

// Waiting for messages that were sent already: in all, and between the rank's first work and its last.
struct Waited {
  double all_s = 0, within_s = 0;
};

Waited waited_for_messages(const std::vector<EventSums>& sums, size_t rank) {
  const EventSums& own = sums[rank];
  Waited waited;
  for (const auto& [way, waits] : own.receives) {
    if (way.peer < 0 || way.peer >= static_cast<int64_t>(sums.size())) continue;
    const auto& theirs = sums[static_cast<size_t>(way.peer)].sends;
    const auto sent = theirs.find({static_cast<int64_t>(rank), way.channel});
    if (sent == theirs.end()) continue;
    for (size_t i = 0; i < std::min(waits.size(), sent->second.size()); ++i) {
      const auto& [begin_s, end_s, times] = waits[i];
      const double blocked = (end_s - std::clamp(sent->second[i], begin_s, end_s)) * static_cast<double>(times);
      waited.all_s += blocked;
      if (own.working && own.working->begin_s <= begin_s && end_s <= own.working->end_s) waited.within_s += blocked;
    }
  }
  return waited;
}

// Microseconds, to the tenth: what the clock is good for.
double microseconds(double seconds) { return std::round(seconds * 1e7) / 10; }

}  // namespace

std::vector<RankFigures> rank_figures(const std::vector<RankTrace>& traces) {
  std::vector<EventSums> sums;
  for (const auto& trace : traces) sums.push_back(trace.summed());
  return rank_figures(traces, sums);
}

std::vector<RankFigures> rank_figures(const std::vector<RankTrace>& traces, const std::vector<EventSums>& sums) {
  double end = 0, repeated = 0;
  for (const auto& trace : traces) {
    end = std::max(end, trace.end_s);
    repeated = std::max(repeated, trace.repeated_s());
  }
  std::vector<RankFigures> out;
  for (size_t rank = 0; rank < traces.size(); ++rank) {
    const RankTrace& trace = traces[rank];
    const EventSums& own = sums.at(rank);
    const Waited received = waited_for_messages(sums, rank);
    RankFigures figures{
        .compute_s = own.compute_s, .communication_s = own.blocked_s + received.all_s, .sent_bytes = own.sent_bytes};
    figures.idle_s = std::max(0.0, end + repeated - trace.begin_s - figures.compute_s - figures.communication_s);
    figures.span_s = (own.working ? own.working->end_s - own.working->begin_s : 0) + trace.repeated_s();
    figures.idle_within_s =
        std::max(0.0, figures.span_s - figures.compute_s - own.blocked_within_s - received.within_s);
    out.push_back(figures);
  }
  return out;
}

double bubble_ratio(const std::vector<RankFigures>& figures) {
  double idle = 0, span = 0;
  for (const auto& f : figures) {
    idle += f.idle_within_s;
    span += f.span_s;
  }
  return span > 0 ? idle / span : 0;
}

nlohmann::json chrome_trace(const std::vector<RankTrace>& traces) {
  double origin = traces.empty() ? 0 : traces[0].begin_s;
  for (const auto& trace : traces) origin = std::min(origin, trace.begin_s);
  auto events = nlohmann::json::array();
  for (size_t rank = 0; rank < traces.size(); ++rank) {
    events.push_back(
        {{"ph", "M"}, {"name", "process_name"}, {"pid", rank}, {"args", {{"name", "rank " + std::to_string(rank)}}}});
    for (const Event& e : traces[rank].events) {
      if (e.kind == Kind::kOutput || e.kind == Kind::kVideo) continue;
      const bool computes = e.kind == Kind::kCompute;
      nlohmann::json arguments{{"block", e.label.block}, {"step", e.label.step}, {"micro_batch", e.label.micro_batch}};
      if (e.label.frames.known()) arguments["frames"] = {e.label.frames.first, e.label.frames.last};
      if (e.label.last_layer >= e.label.first_layer) arguments["layers"] = {e.label.first_layer, e.label.last_layer};
      if (e.label.last_layer >= e.label.first_layer && !e.label.whole_layers())
        arguments["parts"] = {kLayerPartNames.at(e.label.first_part), kLayerPartNames.at(e.label.last_part)};
      const bool copies = e.kind >= Kind::kToHost;
      if (!computes && !copies) arguments["peer"] = e.peer;
      if (e.bytes > 0) arguments["bytes"] = e.bytes;
      events.push_back(
          {{"ph", "X"},
           {"cat", kKindNames[static_cast<int>(e.kind)]},
           {"name", computes && e.label.frames.known() ? "frames " + e.label.frames.text()
                    : computes                         ? "block " + std::to_string(e.label.block)
                    : copies                           ? std::string(kKindNames[static_cast<int>(e.kind)])
                             : std::string(kKindNames[static_cast<int>(e.kind)]) + " rank " + std::to_string(e.peer)},
           {"pid", rank},
           {"tid", computes ? 0 : 1},
           {"ts", microseconds(e.begin_s - origin)},
           {"dur", microseconds(e.end_s - e.begin_s)},
           {"args", arguments}});
    }
  }
  return {{"displayTimeUnit", "ms"}, {"traceEvents", events}};
}

}  // namespace dualparal
