// SPDX-License-Identifier: Apache-2.0
#include "harness/trace/event_sums.h"

#include <algorithm>

#include "base/errors.h"

namespace dualparal {
namespace {

using Json = nlohmann::json;
using Kind = Event::Kind;

constexpr size_t kWorkSize = 5, kSpanSize = 2, kWaitSize = 3;  // numbers of each in JSON

Work many_times(const Work& work, int64_t count) {
  const auto many = static_cast<double>(count);
  return {work.matmul_flops * many, work.attention_flops * many, work.convolution_flops * many, work.moved_bytes * many,
          work.operations * count};
}

// [peer, channel, numbers]
template <class Ways, class Numbers>
Json ways_json(const Ways& ways, Numbers numbers) {
  auto out = Json::array();
  for (const auto& [way, messages] : ways) out.push_back({way.peer, static_cast<int>(way.channel), numbers(messages)});
  return out;
}

template <class Message, class Messages>
std::map<EventSums::Way, std::vector<Message>> ways_of(const Json& json, Messages messages) {
  std::map<EventSums::Way, std::vector<Message>> out;
  for (const Json& way : json) out[{way.at(0), static_cast<Channel>(way.at(1).get<int>())}] = messages(way.at(2));
  return out;
}

Json waits_json(const std::vector<EventSums::Wait>& waits) {
  auto out = Json::array();
  for (const auto& wait : waits) out.insert(out.end(), {wait.begin_s, wait.end_s, wait.times});
  return out;
}

std::vector<EventSums::Wait> waits_of(const Json& json) {
  check(json.size() % kWaitSize == 0, "expected begin, end and times of each receive");
  std::vector<EventSums::Wait> waits;
  for (size_t i = 0; i < json.size(); i += kWaitSize) waits.push_back({json.at(i), json.at(i + 1), json.at(i + 2)});
  return waits;
}

}  // namespace

void EventSums::add(const Event& event, int64_t times, double later_s) {
  double blocked = event.end_s - event.begin_s;
  switch (event.kind) {
    case Kind::kCompute:
      compute_s += blocked * static_cast<double>(times);
      work += many_times(event.work, times);
      if (working)
        blocked_within_s += blocked_since_s;
      else
        working = Span{event.begin_s, event.end_s};
      working->end_s = std::max(working->end_s, event.end_s);
      blocked_since_s = 0;
      return;
    case Kind::kReceive:
      receives[{event.peer, event.channel}].push_back({event.begin_s, event.end_s, times});
      return;
    case Kind::kOutput:
      outputs.push_back(event.begin_s + later_s);
      return;
    case Kind::kVideo:
      video_begins.push_back(event.begin_s + later_s);
      return;
    case Kind::kSend:
      sent_bytes += event.bytes * times;
      sends[{event.peer, event.channel}].push_back(event.begin_s);
      break;
    case Kind::kExchange:
      sent_bytes += event.bytes * times;
      break;
    case Kind::kWait:
    case Kind::kToHost:
    case Kind::kFromHost:
    case Kind::kHostWait:
      break;
  }
  blocked *= static_cast<double>(times);
  blocked_s += blocked;
  blocked_since_s += blocked;
}

void EventSums::move(const ClockLine& line) {
  for (double* sum : {&compute_s, &blocked_s, &blocked_within_s, &blocked_since_s}) *sum *= line.rate;
  if (working) working = Span{line.at(working->begin_s), line.at(working->end_s)};
  const auto move_all = [&](std::vector<double>& moments) {
    for (double& moment : moments) moment = line.at(moment);
  };
  for (auto& [way, moments] : sends) move_all(moments);
  for (auto& [way, waits] : receives)
    for (Wait& wait : waits) wait = {line.at(wait.begin_s), line.at(wait.end_s), wait.times};
  move_all(outputs);
  move_all(video_begins);
}

Json to_json(const EventSums& sums) {
  const Work& work = sums.work;
  return {{"compute_s", sums.compute_s},
          {"blocked_s", sums.blocked_s},
          {"blocked_within_s", sums.blocked_within_s},
          {"blocked_since_s", sums.blocked_since_s},
          {"working", sums.working ? Json::array({sums.working->begin_s, sums.working->end_s}) : Json(nullptr)},
          {"sent_bytes", sums.sent_bytes},
          {"work", Json::array({work.matmul_flops, work.attention_flops, work.convolution_flops, work.moved_bytes,
                                work.operations})},
          {"sends", ways_json(sums.sends, [](const auto& moments) { return Json(moments); })},
          {"receives", ways_json(sums.receives, waits_json)},
          {"outputs", sums.outputs},
          {"video_begins", sums.video_begins}};
}

EventSums event_sums_of(const Json& json) {
  EventSums sums{.compute_s = json.at("compute_s"),
                 .blocked_s = json.at("blocked_s"),
                 .blocked_within_s = json.at("blocked_within_s"),
                 .blocked_since_s = json.at("blocked_since_s"),
                 .sent_bytes = json.at("sent_bytes")};
  if (const Json& working = json.at("working"); !working.is_null()) {
    check(working.size() == kSpanSize, "expected the begin of the first work and the end of the last");
    sums.working = EventSums::Span{working.at(0), working.at(1)};
  }
  const Json& work = json.at("work");
  check(work.size() == kWorkSize, "expected {} numbers of work", kWorkSize);
  sums.work = {work.at(0), work.at(1), work.at(2), work.at(3), work.at(4)};
  sums.sends =
      ways_of<double>(json.at("sends"), [](const Json& moments) { return moments.get<std::vector<double>>(); });
  sums.receives = ways_of<EventSums::Wait>(json.at("receives"), waits_of);
  sums.outputs = json.at("outputs").get<std::vector<double>>();
  sums.video_begins = json.at("video_begins").get<std::vector<double>>();
  return sums;
}

}  // namespace dualparal
