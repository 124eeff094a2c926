// SPDX-License-Identifier: Apache-2.0
#include "harness/shorten/stage_as_one.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "base/errors.h"

namespace dualparal {
namespace {

using Kind = Event::Kind;

// Messages with the others of a stage, of one exchange.
struct Exchanged {
  int64_t sent = 0, received = 0, sent_bytes = 0, received_bytes = 0;
  Event last = {};

  // A message that is sent behind received ones is of the next.
  bool ends_before(const Event& event) const { return event.kind == Kind::kSend && received > 0; }
  void add(const Event& event) {
    if (event.kind == Kind::kSend) ++sent, sent_bytes += event.bytes;
    if (event.kind == Kind::kReceive) ++received, received_bytes += event.bytes;
    last = event;
  }
  void move_to(std::vector<Event>& events) {
    if (sent + received > 0)
      events.push_back({.kind = Kind::kExchange,
                        .label = last.label,
                        .peer = std::max(sent, received),
                        .bytes = std::max(sent_bytes, received_bytes),
                        .live_bytes = last.live_bytes});
    *this = {};
  }
};

bool is_message(const Event& event) {
  return event.kind == Kind::kSend || event.kind == Kind::kReceive || event.kind == Kind::kWait;
}

}  // namespace

RankTrace stage_as_one(RankTrace trace, int64_t rank, int64_t ranks) {
  check(!trace.repeat, "a stage is made one before a section stands for many");
  std::vector<Event> events;
  Exchanged exchanged;
  for (Event& event : trace.events) {
    const bool within = is_message(event) && event.peer / ranks == rank / ranks;
    check(!within || event.channel == Channel::kForward,
          "--stages-as-one: the only stage takes its own predictions, beside its exchanges; leave it out");
    if (!within || exchanged.ends_before(event)) exchanged.move_to(events);
    if (within) {
      exchanged.add(event);
      continue;
    }
    if (is_message(event)) event.peer /= ranks;
    events.push_back(event);
  }
  exchanged.move_to(events);
  trace.events = std::move(events);
  trace.ranks = ranks;
  return trace;
}

void check_stages(const std::vector<RankTrace>& stages) {
  std::map<std::tuple<int64_t, int64_t, Channel>, int64_t> left;
  const auto count = static_cast<int64_t>(stages.size());
  for (int64_t stage = 0; stage < count; ++stage)
    for (const Event& event : stages[static_cast<size_t>(stage)].events) {
      if (event.kind == Kind::kSend) ++left[{stage, event.peer, event.channel}];
      if (event.kind == Kind::kReceive) --left[{event.peer, stage, event.channel}];
    }
  for (const auto& [way, more] : left)
    check(
        more == 0,
        "--stages-as-one: the ranks of a stage do not all do the same (the first of stage {} sends {} messages {} than "
        "that of stage {} takes); leave it out, or use --previous-context matched_kv",
        std::get<0>(way), std::abs(more), more > 0 ? "more" : "fewer", std::get<1>(way));
}

}  // namespace dualparal
