// SPDX-License-Identifier: Apache-2.0
#include "harness/trace/rank_trace.h"

#include "base/errors.h"
#include "base/files.h"
#include "base/parse_json.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;
using Kind = Event::Kind;

constexpr int kTraceSchema = 1;
constexpr int kRepeatSchema = 2;  // of traces with a section that stands for many
constexpr int64_t kMostTimes = 1'000'000'000;
// Numbers of an event's line, in order. A computation has its work, a message its way.
constexpr const char* kFields =
    "kind block step first_layer last_layer micro_batch begin_s end_s live_bytes "
    "| kind 0, compute: matmul_flops attention_flops convolution_flops moved_bytes operations "
    "| kind 1, send; 2, receive; 3, wait for a send; 4, latents final; 5, a video begins: peer channel bytes "
    "| kind 6, copy to host memory; 7, from there; 8, wait for all of them: -1 0 bytes "
    "| kind 9, exchange with all others of a stage: how many 0 bytes "
    "| where a stage begins or ends within a layer: first_part last_part (0 self-attention, 1 cross-attention, 2 "
    "feed-forward)";
constexpr size_t kCommon = 9, kComputeSize = kCommon + 5, kMessageSize = kCommon + 3, kPartsSize = 2;

fs::path rank_file(const fs::path& dir, size_t rank) { return dir / fmt::format("rank_{:05}.jsonl", rank); }

std::string event_line(const Event& e) {
  const WorkLabel& l = e.label;
  std::string line = fmt::format("[{},{},{},{},{},{},{:.9f},{:.9f},{},", static_cast<int>(e.kind), l.block, l.step,
                                 l.first_layer, l.last_layer, l.micro_batch, e.begin_s, e.end_s, e.live_bytes);
  if (e.kind == Kind::kCompute)
    line += fmt::format("{:.0f},{:.0f},{:.0f},{:.0f},{}", e.work.matmul_flops, e.work.attention_flops,
                        e.work.convolution_flops, e.work.moved_bytes, e.work.operations);
  else
    line += fmt::format("{},{},{}", e.peer, static_cast<int>(e.channel), e.bytes);
  return line + (l.whole_layers() ? "]" : fmt::format(",{},{}]", l.first_part, l.last_part));
}

Event event_of(const Json& j) {
  check(j.is_array() && j.size() > kCommon, "expected an event: {}", kFields);
  const auto kind = j[0].get<int>();
  const size_t size = kind == 0 ? kComputeSize : kMessageSize;
  check(0 <= kind && kind <= static_cast<int>(Kind::kExchange) && (j.size() == size || j.size() == size + kPartsSize),
        "expected an event: {}", kFields);
  Event e{.kind = static_cast<Kind>(kind), .label = {j[1], j[2], j[3], j[4], j[5]}};
  e.begin_s = j[6];
  e.end_s = j[7];
  e.live_bytes = j[8];
  if (e.kind == Kind::kCompute) {
    e.work = {j[9], j[10], j[11], j[12], j[13]};
  } else {
    e.peer = j[9];
    e.channel = static_cast<Channel>(j[10].get<int>());
    e.bytes = j[11];
  }
  if (j.size() > size) {
    e.label.first_part = j[size];
    e.label.last_part = j[size + 1];
    const auto known = [](int64_t part) { return 0 <= part && part < kLayerParts; };
    check(known(e.label.first_part) && known(e.label.last_part), "expected an event: {}", kFields);
  }
  return e;
}

Repeat repeat_of(const Json& j) {
  Repeat repeat{.begin = j.at("begin"),
                .end = j.at("end"),
                .times = j.at("times"),
                .blocks = j.at("blocks"),
                .steps = j.at("steps"),
                .live_bytes = j.at("live_bytes")};
  check(repeat.begin < repeat.end && 1 <= repeat.times && repeat.times <= kMostTimes,
        "expected a repeat of at least one event, 1 to {} times", kMostTimes);
  return repeat;
}

}  // namespace

void RankTrace::shift(double seconds) {
  begin_s += seconds;
  end_s += seconds;
  for (Event& event : events) {
    event.begin_s += seconds;
    event.end_s += seconds;
  }
  if (sums) sums->move({.offset_s = seconds});
}

void RankTrace::move_peers(int64_t ranks) {
  for (Event& event : events)
    if (event.peer >= 0 && event.kind != Kind::kExchange) event.peer += ranks;
}

EventSums RankTrace::summed() const {
  if (sums) return *sums;
  EventSums all;
  for (size_t i = 0; i < events.size(); ++i)
    all.add(events[i], times(i), repeat && i >= repeat->end ? repeated_s() : 0);
  return all;
}

std::string RankTrace::to_text() const {
  Json header{{"schema", repeat ? kRepeatSchema : kTraceSchema},
              {"timed", timed},
              {"begin_s", begin_s},
              {"end_s", end_s},
              {"peak_memory_bytes", peak_memory_bytes},
              {"peak_reserved_bytes", peak_reserved_bytes},
              {"weights_bytes", weights_bytes},
              {"process_memory_bytes", process_memory_bytes},
              {"device_used_bytes", device_used_bytes},
              {"device_allocations", device_allocations},
              {"host_cache_bytes", host_cache_bytes},
              {"ranks", ranks},
              {"clock_offset_s", clock_offset_s},
              {"clock_error_s", clock_error_s},
              {"events", events.size()},
              {"fields", kFields}};
  if (repeat)
    header["repeat"] = {{"begin", repeat->begin},   {"end", repeat->end},     {"times", repeat->times},
                        {"blocks", repeat->blocks}, {"steps", repeat->steps}, {"live_bytes", repeat->live_bytes}};
  if (sums) header["sums"] = to_json(*sums);
  std::string text = header.dump();
  for (const Event& event : events) text += "\n" + event_line(event);
  return text + "\n";
}

RankTrace RankTrace::from_text(const std::string& text) {
  RankTrace trace;
  size_t expected = 0, begin = 0;
  for (int64_t number = 1; begin < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    try {
      const auto json = parse_json(std::string_view(text).substr(begin, end - begin));
      begin = end + 1;
      if (number > 1) {
        trace.events.push_back(event_of(json));
        continue;
      }
      const int schema = json.is_object() ? json.value("schema", 0) : 0;
      check(schema == kTraceSchema || schema == kRepeatSchema, "expected a trace of schema {} or {}", kTraceSchema,
            kRepeatSchema);
      if (schema == kRepeatSchema) trace.repeat = repeat_of(json.at("repeat"));
      trace.timed = json.at("timed");
      trace.begin_s = json.at("begin_s");
      trace.end_s = json.at("end_s");
      trace.peak_memory_bytes = json.at("peak_memory_bytes");
      trace.peak_reserved_bytes = json.at("peak_reserved_bytes");
      trace.weights_bytes = json.at("weights_bytes");
      trace.process_memory_bytes = json.value("process_memory_bytes", int64_t{0});
      trace.device_used_bytes = json.value("device_used_bytes", int64_t{0});
      trace.device_allocations = json.value("device_allocations", int64_t{-1});
      trace.host_cache_bytes = json.value("host_cache_bytes", int64_t{0});
      trace.ranks = json.value("ranks", int64_t{1});
      check(trace.ranks >= 1, "expected a trace of at least one rank, got {}", trace.ranks);
      trace.clock_offset_s = json.value("clock_offset_s", 0.0);
      trace.clock_error_s = json.value("clock_error_s", 0.0);
      if (json.contains("sums")) trace.sums = event_sums_of(json.at("sums"));
      expected = json.at("events");
    } catch (const std::exception& error) {
      fail("line {}: {}", number, error.what());
    }
  }
  check(trace.events.size() == expected, "{} events, expected {}: the trace was cut off", trace.events.size(),
        expected);
  check(!trace.repeat || trace.repeat->end <= trace.events.size(), "events {}..{} are repeated, there are {}",
        trace.repeat ? trace.repeat->begin : 0, trace.repeat ? trace.repeat->end : 0, trace.events.size());
  return trace;
}

void write_traces(const fs::path& dir, const std::vector<RankTrace>& traces, const ResultLine& run) {
  fs::create_directories(dir);
  fs::remove(dir / "run.json");  // first: a set that is not whole is none
  for (const auto& file : fs::directory_iterator(dir))
    if (file.path().filename().string().starts_with("rank_") && file.path().extension() == ".jsonl")
      fs::remove(file.path());
  for (size_t rank = 0; rank < traces.size(); ++rank) write_file(rank_file(dir, rank), traces[rank].to_text());
  write_file(dir / "run.json", to_json(run).dump(1) + "\n");
}

TraceSet read_traces(const fs::path& dir) {
  TraceSet set;
  const fs::path run = dir / "run.json";
  check(fs::exists(run), "{}: no traces here: expected run.json and rank_00000.jsonl, ... as --traces writes them",
        dir.string());
  try {
    set.run = result_line_of(parse_json<nlohmann::ordered_json>(read_file(run)));
    check(set.run.world_size && set.run.dtype, "expected world_size and dtype");
  } catch (const std::exception& error) {
    fail("{}: {}", run.string(), error.what());
  }
  const int64_t ranks = *set.run.world_size;
  for (int64_t known = 0; known < ranks; known += set.ranks.back().ranks) {
    const fs::path file = rank_file(dir, set.ranks.size());
    check(fs::exists(file), "{}: missing, there should be {} ranks", file.string(), ranks);
    try {
      set.ranks.push_back(RankTrace::from_text(read_file(file)));
      check(!set.ranks.back().sums, "sums in place of events");
    } catch (const std::exception& error) {
      fail("{}: {}", file.string(), error.what());
    }
  }
  return set;
}

}  // namespace dualparal
