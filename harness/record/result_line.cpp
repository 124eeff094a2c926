// SPDX-License-Identifier: Apache-2.0
#include "harness/record/result_line.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <type_traits>

#include "base/errors.h"

namespace dualparal {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<const char*, 4> kKindNames = {"measured", "emulated", "traced", "simulated"};
constexpr std::array<const char*, 3> kStatusNames = {"ok", "failed", "skipped"};

// The fields, in the order in which they are written. `Line` is const when they are written.
template <class Line, class Visit>
void each_field(Line& l, const Visit& visit) requires std::is_same_v<std::remove_const_t<Line>, ResultLine> {
  visit("kind", l.kind), visit("experiment", l.experiment), visit("strategy", l.strategy), visit("exact", l.exact);
  visit("options", l.options);
  visit("world_size", l.world_size), visit("model", l.model), visit("device", l.device), visit("dtype", l.dtype);
  visit("frames", l.frames), visit("latent_frames", l.latent_frames), visit("height", l.height);
  visit("width", l.width), visit("steps", l.steps), visit("seed", l.seed);
  visit("latency_s", l.latency_s), visit("first_block_s", l.first_block_s);
  visit("samples", l.samples), visit("interval", l.interval), visit("per_rank", l.per_rank);
  visit("peak_memory_bytes", l.peak_memory_bytes), visit("reserved_bytes", l.reserved_bytes);
  visit("process_memory_bytes", l.process_memory_bytes), visit("device_used_bytes", l.device_used_bytes);
  visit("host_cache_bytes", l.host_cache_bytes);
  visit("sent_bytes", l.sent_bytes), visit("flops", l.flops), visit("bubble_ratio", l.bubble_ratio);
  visit("text_encode_s", l.text_encode_s), visit("load_s", l.load_s), visit("decode_s", l.decode_s);
  visit("total_s", l.total_s), visit("text_peak_memory_bytes", l.text_peak_memory_bytes);
  visit("decode_peak_memory_bytes", l.decode_peak_memory_bytes), visit("peak_resident_bytes", l.peak_resident_bytes);
  visit("analytic_cost", l.analytic_cost), visit("bubble_ratio_slots", l.bubble_ratio_slots);
  visit("videos", l.videos), visit("videos_per_s", l.videos_per_s), visit("video_latency_s", l.video_latency_s);
  visit("video_first_block_s", l.video_first_block_s), visit("per_video", l.per_video);
  visit("quality", l.quality), visit("error_vs_single", l.error_vs_single);
  visit("source_kind", l.source_kind), visit("compute", l.compute), visit("cluster", l.cluster);
  visit("latency_without_memory_limit_s", l.latency_without_memory_limit_s), visit("memory_margin", l.memory_margin);
  visit("sweep", l.sweep);
  visit("status", l.status), visit("error", l.error), visit("config", l.config), visit("config_hash", l.config_hash);
  visit("program_hash", l.program_hash), visit("provenance", l.provenance);
  visit("point", l.point), visit("repeat", l.repeat), visit("video", l.video), visit("timeline", l.timeline);
}

template <class Line, class Visit>
void each_field(Line& l, const Visit& visit) requires std::is_same_v<std::remove_const_t<Line>, RankLine> {
  visit("compute_s", l.compute_s), visit("communication_s", l.communication_s), visit("idle_s", l.idle_s);
  visit("sent_bytes", l.sent_bytes), visit("peak_memory_bytes", l.peak_memory_bytes);
  visit("peak_reserved_bytes", l.peak_reserved_bytes), visit("process_memory_bytes", l.process_memory_bytes);
  visit("device_used_bytes", l.device_used_bytes), visit("device_allocations", l.device_allocations);
  visit("host_cache_bytes", l.host_cache_bytes);
  visit("weights_bytes", l.weights_bytes), visit("flops", l.flops);
  visit("matmul_flops", l.matmul_flops), visit("attention_flops", l.attention_flops);
  visit("moved_bytes", l.moved_bytes), visit("clock_offset_s", l.clock_offset_s);
  visit("clock_error_s", l.clock_error_s);
}

template <class Line, class Visit>
void each_field(Line& l, const Visit& visit) requires std::is_same_v<std::remove_const_t<Line>, FormulaLine> {
  visit("sent_bytes", l.sent_bytes), visit("weights_bytes", l.weights_bytes);
  visit("key_value_bytes", l.key_value_bytes);
}

template <class Line, class Visit>
void each_field(Line& l, const Visit& visit) requires std::is_same_v<std::remove_const_t<Line>, PercentilesLine> {
  visit("p50", l.p50), visit("p90", l.p90), visit("p99", l.p99);
}

template <class Line, class Visit>
void each_field(Line& l, const Visit& visit) requires std::is_same_v<std::remove_const_t<Line>, VideoLine> {
  visit("begin_s", l.begin_s), visit("first_block_s", l.first_block_s), visit("latency_s", l.latency_s);
  visit("quality", l.quality);
}

template <class Line, class Visit>
void each_field(Line& l, const Visit& visit) requires std::is_same_v<std::remove_const_t<Line>, ClusterLine> {
  visit("name", l.name), visit("nodes", l.nodes), visit("devices_per_node", l.devices_per_node);
  visit("device", l.device), visit("device_memory_bytes", l.device_memory_bytes);
  visit("device_reserved_bytes", l.device_reserved_bytes), visit("efficiency", l.efficiency);
  visit("file_hash", l.file_hash);
}

template <class T>
concept Fields = requires(T& line) {
  each_field(line, [](const char*, auto&) {});
};

// Writing.
template <Fields T>
Json written(const T& line);
Json written(ResultKind kind) { return kind_name(kind); }
Json written(ResultStatus status) { return status_name(status); }
template <class T>
requires(!Fields<T>) Json written(const T& value) { return value; }
template <class T>
Json written(const std::optional<T>& value) {
  return value ? written(*value) : Json(nullptr);
}
template <class T>
Json written(const std::vector<T>& values) {
  if (values.empty()) return nullptr;
  auto array = Json::array();
  for (const T& value : values) array.push_back(written(value));
  return array;
}
template <Fields T>
Json written(const T& line) {
  Json json;
  each_field(line, [&](const char* name, const auto& value) { json[name] = written(value); });
  return json;
}

// Reading.
template <Fields T>
void read(const Json& json, T& line);

template <size_t N>
size_t place_of(const Json& json, const std::array<const char*, N>& names) {
  const auto found = std::ranges::find(names, json.is_string() ? json.get<std::string>() : "");
  check(found != names.end(), "expected one of {}, got {}", fmt::join(names, ", "), json.dump());
  return static_cast<size_t>(found - names.begin());
}
void read(const Json& json, ResultKind& kind) { kind = static_cast<ResultKind>(place_of(json, kKindNames)); }
void read(const Json& json, ResultStatus& status) { status = static_cast<ResultStatus>(place_of(json, kStatusNames)); }
void read(const Json& json, Json& value) { value = json; }
void read(const Json& json, std::string& value) {
  check(json.is_string(), "expected a text, got {}", json.dump());
  value = json.get<std::string>();
}
void read(const Json& json, bool& value) {
  check(json.is_boolean(), "expected true or false, got {}", json.dump());
  value = json.get<bool>();
}
template <class T>
requires std::is_arithmetic_v<T>
void read(const Json& json, T& value) {
  constexpr bool whole = std::is_integral_v<T>;
  check(whole ? json.is_number_integer() : json.is_number(), "expected a {}, got {}", whole ? "whole number" : "number",
        json.dump());
  value = json.get<T>();
}
template <class T>
void read(const Json& json, std::optional<T>& value) {
  if (json.is_null()) return value.reset();
  read(json, value.emplace());
}
template <class T>
void read(const Json& json, std::vector<T>& values) {
  values.clear();
  if (json.is_null()) return;
  check(json.is_array(), "expected a list, got {}", json.dump());
  for (const Json& item : json) read(item, values.emplace_back());
}
template <Fields T>
void read(const Json& json, T& line) {
  check(json.is_object(), "expected an object, got {}", json.dump());
  each_field(line, [&](const char* name, auto& value) {
    const auto found = json.find(name);
    if (found == json.end()) return;
    try {
      read(*found, value);
    } catch (const Error& error) {
      fail("field '{}': {}", name, error.what());
    }
  });
}

}  // namespace

std::string kind_name(ResultKind kind) { return kKindNames.at(static_cast<size_t>(kind)); }
std::string status_name(ResultStatus status) { return kStatusNames.at(static_cast<size_t>(status)); }

std::optional<double> quality_figure(const ResultLine& line, const std::string& name) {
  const auto found = line.quality.find(name);
  return found != line.quality.end() && found->is_number() ? std::optional(found->get<double>()) : std::nullopt;
}

Json to_json(const ResultLine& line) {
  Json json{{"schema", kResultSchema}};
  json.update(written(line));
  return json;
}

ResultLine result_line_of(const Json& json) {
  const auto schema = json.is_object() ? json.find("schema") : json.end();
  check(schema != json.end() && (*schema == 1 || *schema == kResultSchema),
        "expected a result line of schema 1 or {}, got {}", kResultSchema,
        schema != json.end() ? schema->dump() : "no schema");
  for (const char* name : {"kind", "strategy", "status"})
    check(json.contains(name) && !json[name].is_null(), "field '{}' is missing", name);
  ResultLine line;
  read(json, line);
  return line;
}

}  // namespace dualparal
