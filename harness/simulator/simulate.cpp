// SPDX-License-Identifier: Apache-2.0
#include "harness/simulator/simulate.h"

#include <algorithm>
#include <set>

#include "base/errors.h"
#include "base/files.h"
#include "base/hash.h"
#include "harness/record/result_figures.h"
#include "harness/simulator/replay.h"
#include "harness/trace/rank_figures.h"

namespace dualparal {
namespace {

using Json = nlohmann::ordered_json;

double gib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

// Ranks that share a device share its memory.
std::string memory_failure(const std::vector<RankTrace>& traces, const Cluster& cluster) {
  if (cluster.device_memory_bytes == 0) return "";
  const int64_t available = cluster.device_memory_bytes - cluster.device_reserved_bytes;
  for (int64_t device = 0; device < cluster.devices(); ++device) {
    int64_t needed = 0;
    std::vector<size_t> ranks;
    for (size_t rank = device; rank < traces.size(); rank += cluster.devices()) {
      needed += traces[rank].peak_memory_bytes;
      ranks.push_back(rank);
    }
    if (needed > available)
      return fmt::format("out of memory: {} {:.1f} GiB, {} has {:.1f} GiB ({:.1f} GiB less {:.1f} GiB reserved)",
                         ranks.size() == 1 ? fmt::format("rank {} needs", ranks[0])
                                           : fmt::format("ranks {} on one device need", fmt::join(ranks, ", ")),
                         gib(needed), cluster.device_name, gib(available), gib(cluster.device_memory_bytes),
                         gib(cluster.device_reserved_bytes));
  }
  return "";
}

ComputeSeconds durations(const SimulateOptions& options, const TraceSet& traces, const Cluster& cluster) {
  check_usage(options.compute == "model" || options.compute == "measured",
              "--compute: expected model or measured, got '{}'", options.compute);
  const auto all = [&](auto&& has) { return std::all_of(traces.ranks.begin(), traces.ranks.end(), has); };
  if (options.compute == "measured") {
    check(all([](const RankTrace& rank) { return rank.timed; }),
          "--compute measured: {} was traced without times; only model is possible", options.traces.string());
    return [](const Event& event) { return event.end_s - event.begin_s; };
  }
  check(all([](const RankTrace& rank) { return rank.work().operations > 0; }),
        "{}: a rank's trace holds no work to model", options.traces.string());
  return [&cluster, dtype = traces.run["dtype"].get<std::string>()](const Event& event) {
    return cluster.compute_seconds(event.work, dtype);
  };
}

}  // namespace

Json simulated_record(const TraceSet& traces, const std::vector<RankTrace>& replayed, const Cluster& cluster,
                      const std::string& compute) {
  Json record = traces.run;
  record["source_kind"] = record.at("kind");
  record["kind"] = "simulated";
  record["compute"] = compute;
  record["cluster"] = {{"name", cluster.name},
                       {"nodes", cluster.nodes},
                       {"devices_per_node", cluster.devices_per_node},
                       {"device", cluster.device_name},
                       {"device_memory_bytes", cluster.device_memory_bytes},
                       {"device_reserved_bytes", cluster.device_reserved_bytes},
                       {"efficiency", cluster.efficiency.basis},
                       {"file_hash", text_hash(read_file(cluster.file))}};
  for (const char* field : {"text_encode_s", "load_s", "decode_s", "total_s", "text_peak_memory_bytes",
                            "decode_peak_memory_bytes", "peak_resident_bytes", "quality"})
    record[field] = nullptr;
  set_rank_fields(record, replayed);
  const std::string failure = memory_failure(replayed, cluster);
  record["status"] = failure.empty() ? "ok" : "failed";
  record["error"] = failure.empty() ? Json(nullptr) : Json(failure);
  record["latency_without_memory_limit_s"] = record["latency_s"];
  if (!failure.empty()) record["latency_s"] = record["first_block_s"] = nullptr;
  return record;
}

namespace {

void print_summary(const Json& record, const std::string& cluster) {
  const double latency = record["latency_without_memory_limit_s"];
  fmt::print("simulated {} on {} ({} ranks, {} frames): ", record["strategy"].get<std::string>(), cluster,
             record["world_size"].get<int64_t>(), record["frames"].get<int64_t>());
  if (record["status"] != "ok") fmt::print("does not fit into memory; would take ");
  fmt::print("{:.3f} s", latency);
  if (!record["first_block_s"].is_null())
    fmt::print(", first latents after {:.3f} s", record["first_block_s"].get<double>());
  fmt::print(", idle {:.1f} %, peak memory {:.2f} GiB\n", 100 * record["bubble_ratio"].get<double>(),
             gib(record["peak_memory_bytes"].get<int64_t>()));
}

}  // namespace

void run_simulate(const SimulateOptions& options) {
  std::vector<Cluster> clusters;
  std::set<std::string> names;
  for (const auto& file : options.clusters) {
    clusters.push_back(read_cluster(file));
    check_usage(names.insert(clusters.back().name).second, "--cluster: two files describe a cluster '{}'",
                clusters.back().name);
  }
  const TraceSet traces = read_traces(options.traces);
  std::string failure;
  for (const Cluster& cluster : clusters) {
    const auto replayed = replay(traces.ranks, cluster, durations(options, traces, cluster));
    const Json record = simulated_record(traces, replayed, cluster, options.compute);
    if (!options.timeline.empty()) {
      std::filesystem::path file = options.timeline;
      if (clusters.size() > 1)
        file.replace_filename(file.stem().string() + "_" + cluster.name + file.extension().string());
      write_file(file, chrome_trace(replayed).dump());
    }
    if (!options.result.empty()) append_line(options.result, record.dump());
    if (!options.quiet) print_summary(record, cluster.name);
    if (record["status"] != "ok") failure = fmt::format("{}: {}", cluster.name, record["error"].get<std::string>());
  }
  check(failure.empty(), "{}", failure);
}

}  // namespace dualparal
