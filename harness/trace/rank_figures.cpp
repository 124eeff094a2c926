// SPDX-License-Identifier: Apache-2.0
#include "harness/trace/rank_figures.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace dualparal {
namespace {

using Kind = Event::Kind;

constexpr const char* kKindNames[] = {"compute", "send",    "receive",   "wait",      "output",
                                      "video",   "to_host", "from_host", "host_wait", "exchange"};

// When each message was sent: by sender, receiver and channel, in order.
std::map<std::tuple<int64_t, int64_t, Channel>, std::vector<double>> send_times(const std::vector<RankTrace>& traces) {
  std::map<std::tuple<int64_t, int64_t, Channel>, std::vector<double>> times;
  for (size_t rank = 0; rank < traces.size(); ++rank)
    for (const Event& event : traces[rank].events)
      if (event.kind == Kind::kSend) times[{rank, event.peer, event.channel}].push_back(event.begin_s);
  return times;
}

// Microseconds, to the tenth: what the clock is good for.
double microseconds(double seconds) { return std::round(seconds * 1e7) / 10; }

}  // namespace

std::vector<RankFigures> rank_figures(const std::vector<RankTrace>& traces) {
  const auto sent = send_times(traces);
  double end = 0, repeated = 0;
  for (const auto& trace : traces) {
    end = std::max(end, trace.end_s);
    repeated = std::max(repeated, trace.repeated_s());
  }
  std::vector<RankFigures> out;
  for (size_t rank = 0; rank < traces.size(); ++rank) {
    const RankTrace& trace = traces[rank];
    RankFigures figures;
    double first = trace.end_s, last = trace.begin_s, communication_within = 0;
    std::map<std::tuple<int64_t, int64_t, Channel>, size_t> received;
    for (size_t i = 0; i < trace.events.size(); ++i)
      if (const Event& event = trace.events[i]; event.kind == Kind::kCompute) {
        figures.compute_s += (event.end_s - event.begin_s) * static_cast<double>(trace.times(i));
        first = std::min(first, event.begin_s);
        last = std::max(last, event.end_s);
      }
    for (size_t i = 0; i < trace.events.size(); ++i) {
      const Event& event = trace.events[i];
      double blocked = 0;
      if (event.kind == Kind::kSend) {
        figures.sent_bytes += event.bytes * trace.times(i);
        blocked = event.end_s - event.begin_s;
      } else if (event.kind == Kind::kExchange) {
        figures.sent_bytes += event.bytes * trace.times(i);
        blocked = event.end_s - event.begin_s;
      } else if (event.kind == Kind::kWait || event.kind >= Kind::kToHost) {
        blocked = event.end_s - event.begin_s;
      } else if (event.kind == Kind::kReceive) {
        const std::tuple key{event.peer, static_cast<int64_t>(rank), event.channel};
        const auto found = sent.find(key);
        const size_t number = received[key]++;
        if (found == sent.end() || number >= found->second.size()) continue;
        blocked = event.end_s - std::clamp(found->second[number], event.begin_s, event.end_s);
      }
      blocked *= static_cast<double>(trace.times(i));
      figures.communication_s += blocked;
      if (event.begin_s >= first && event.end_s <= last) communication_within += blocked;
    }
    figures.idle_s = std::max(0.0, end + repeated - trace.begin_s - figures.compute_s - figures.communication_s);
    figures.span_s = std::max(0.0, last - first) + trace.repeated_s();
    figures.idle_within_s = std::max(0.0, figures.span_s - figures.compute_s - communication_within);
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
      if (e.label.last_layer >= e.label.first_layer) arguments["layers"] = {e.label.first_layer, e.label.last_layer};
      if (e.label.last_layer >= e.label.first_layer && !e.label.whole_layers())
        arguments["parts"] = {kLayerPartNames.at(e.label.first_part), kLayerPartNames.at(e.label.last_part)};
      const bool copies = e.kind >= Kind::kToHost;
      if (!computes && !copies) arguments["peer"] = e.peer;
      if (e.bytes > 0) arguments["bytes"] = e.bytes;
      events.push_back(
          {{"ph", "X"},
           {"cat", kKindNames[static_cast<int>(e.kind)]},
           {"name", computes ? "block " + std::to_string(e.label.block)
                    : copies ? std::string(kKindNames[static_cast<int>(e.kind)])
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
