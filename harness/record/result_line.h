// SPDX-License-Identifier: Apache-2.0
// A result: one line of JSON in a results file. Every line has every field, null where it does not apply or was not
// measured. Meaning of the fields: docs/metrics.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace dualparal {

/// Of the lines that are written. Lines of schema 1, which lack some fields, are read as well.
constexpr int kResultSchema = 2;

/// Where a result's times come from: a clock, a clock over ranks that ran one after the other, nowhere, a simulation.
enum class ResultKind { kMeasured, kEmulated, kTraced, kSimulated };
enum class ResultStatus { kOk, kFailed, kSkipped };

/// As lines have them: "measured", "ok", ...
std::string kind_name(ResultKind kind);
std::string status_name(ResultStatus status);

/// One rank's part. Seconds; bytes are peaks while it denoised.
struct RankLine {
  std::optional<double> compute_s = {}, communication_s = {}, idle_s = {};
  std::optional<int64_t> sent_bytes = {}, peak_memory_bytes = {}, peak_reserved_bytes = {}, process_memory_bytes = {},
                         device_used_bytes = {}, device_allocations = {}, host_cache_bytes = {}, weights_bytes = {};
  std::optional<double> flops = {}, matmul_flops = {}, attention_flops = {}, moved_bytes = {};
  std::optional<double> clock_offset_s = {}, clock_error_s = {};  ///< of its host's clock to rank 0's
};

/// What formulas say, from the strategy's plan.
struct FormulaLine {
  std::optional<int64_t> sent_bytes = {}, weights_bytes = {}, key_value_bytes = {};
};

/// So many of some times are no longer than these; each is one of them.
struct PercentilesLine {
  std::optional<double> p50 = {}, p90 = {}, p99 = {};
};

/// One video of a list, seconds.
struct VideoLine {
  std::optional<double> begin_s = {};                        ///< when its first window entered, since the list's begin
  std::optional<double> first_block_s = {}, latency_s = {};  ///< since then, to its first and last final latents
  nlohmann::ordered_json quality = nullptr;                  ///< as ResultLine::quality
};

/// The cluster that a simulation was of.
struct ClusterLine {
  std::string name = {};
  std::optional<int64_t> nodes = {}, devices_per_node = {};
  std::optional<std::string> device = {};
  std::optional<int64_t> device_memory_bytes = {}, device_reserved_bytes = {};
  std::optional<std::string> efficiency = {};  ///< where its rates come from
  std::optional<std::string> file_hash = {};
};

struct ResultLine {
  using Json = nlohmann::ordered_json;

  ResultKind kind = ResultKind::kMeasured;
  std::optional<std::string> experiment = {};
  std::string strategy = {};
  std::optional<bool> exact = {};  ///< whether the strategy computes what `single` computes; lines of before do not say
  Json options = Json::object();   ///< the strategy's own, by name
  std::optional<int64_t> world_size = {};
  std::optional<std::string> model = {}, device = {}, dtype = {};
  std::optional<int64_t> frames = {}, latent_frames = {}, height = {}, width = {}, steps = {};
  std::optional<uint64_t> seed = {};

  std::optional<double> latency_s = {}, first_block_s = {};
  std::vector<double> samples = {};     ///< the latencies behind latency_s
  std::optional<double> interval = {};  ///< half width of their 95 % confidence interval / their mean
  std::vector<RankLine> per_rank = {};
  std::optional<int64_t> peak_memory_bytes = {}, reserved_bytes = {}, process_memory_bytes = {}, device_used_bytes = {};
  std::optional<int64_t> host_cache_bytes = {};
  std::optional<int64_t> sent_bytes = {};
  std::optional<double> flops = {}, bubble_ratio = {};
  std::optional<double> text_encode_s = {}, load_s = {}, decode_s = {}, total_s = {};
  std::optional<int64_t> text_peak_memory_bytes = {}, decode_peak_memory_bytes = {}, peak_resident_bytes = {};
  std::optional<FormulaLine> analytic_cost = {};
  std::optional<double> bubble_ratio_slots = {};

  // Of a list of prompts in a scenario, all videos together; latency_s is then that of the list.
  std::optional<int64_t> videos = {};
  std::optional<double> videos_per_s = {};
  std::optional<PercentilesLine> video_latency_s = {}, video_first_block_s = {};
  std::vector<VideoLine> per_video = {};

  Json quality = nullptr;                      ///< metrics by name; null: none was asked for
  std::optional<double> error_vs_single = {};  ///< |latents - single's| / |single's|, of exact strategies

  std::optional<ResultKind> source_kind = {};  ///< of a simulation: of what it replayed
  std::optional<std::string> compute = {};     ///< of a simulation: times from the "model" or as "measured"
  std::optional<ClusterLine> cluster = {};
  std::optional<double> latency_without_memory_limit_s = {};
  std::optional<double> memory_margin = {};  ///< of a simulation: part of the fullest device's memory that stays free
  Json sweep = nullptr;  ///< of a simulation: latency with each share at an end of its range, by name

  ResultStatus status = ResultStatus::kOk;
  std::optional<std::string> error = {};
  Json config = nullptr;  ///< every flag as resolved
  std::optional<std::string> config_hash = {}, program_hash = {};
  Json provenance = nullptr;

  std::optional<std::string> point = {};  ///< of an experiment
  std::optional<int64_t> repeat = {};
  std::optional<std::string> video = {}, timeline = {};  ///< files, relative to the results' folder
};

/// A metric of `quality`; empty where it is not a number.
std::optional<double> quality_figure(const ResultLine& line, const std::string& name);

/// Every field, in the order above, after `schema`.
nlohmann::ordered_json to_json(const ResultLine& line);

/// Of schema 1 or 2. Error that names the field for a missing kind, strategy or status, and for values of a wrong type.
ResultLine result_line_of(const nlohmann::ordered_json& json);

}  // namespace dualparal
