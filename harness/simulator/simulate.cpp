// SPDX-License-Identifier: Apache-2.0
#include "harness/simulator/simulate.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/bytes.h"
#include "base/data_dir.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/hash.h"
#include "harness/record/provenance.h"
#include "harness/record/replica_share.h"
#include "harness/record/results.h"
#include "harness/simulator/engine.h"
#include "harness/simulator/replay.h"
#include "harness/simulator/replica_replay.h"
#include "harness/simulator/share_sweep.h"
#include "harness/trace/rank_figures.h"
#include "harness/trace/rank_lines.h"
#include "harness/trace/repeated_section.h"

namespace dualparal {
namespace {

constexpr int64_t kMostInTimeline = 5'000'000;  // events

ComputeSeconds durations(const SimulateOptions& options, const TraceSet& traces, const Cluster& cluster) {
  check_usage(options.compute == "model" || options.compute == "measured",
              "--compute: expected model or measured, got '{}'", options.compute);
  const auto all = [&](auto&& has) { return std::all_of(traces.ranks.begin(), traces.ranks.end(), has); };
  if (options.compute == "measured") {
    check(all([](const RankTrace& rank) { return rank.timed; }),
          "--compute measured: {} was traced without times; only model is possible", options.traces.string());
    return [](const Event& event) { return event.end_s - event.begin_s; };
  }
  // A rank may have nothing to do at all: fewer windows than ranks.
  const auto works = [](const RankTrace& rank) {
    return std::ranges::any_of(rank.events, [](const Event& e) { return e.work.operations > 0; });
  };
  const auto idles = [](const RankTrace& rank) {
    return std::ranges::none_of(rank.events, [](const Event& e) { return e.kind == Event::Kind::kCompute; });
  };
  check(all([&](const RankTrace& rank) { return works(rank) || idles(rank); }) &&
            std::ranges::any_of(traces.ranks, works),
        "{}: a rank's trace holds no work to model", options.traces.string());
  return
      [&cluster, dtype = *traces.run.dtype](const Event& event) { return cluster.compute_seconds(event.work, dtype); };
}

}  // namespace

namespace {

struct DeviceUse {
  int64_t needed = 0;
  std::vector<int64_t> ranks = {};
};

DeviceUse fullest_device(const std::vector<RankTrace>& traces, const Cluster& cluster) {
  std::map<int64_t, DeviceUse> devices;
  for (size_t trace = 0; trace < traces.size(); ++trace) {
    const int64_t alike = traces[trace].ranks;
    DeviceUse& device = devices[device_of(static_cast<int64_t>(trace), alike, cluster)];
    device.needed += traces[trace].peak_memory_bytes;
    device.ranks.push_back(static_cast<int64_t>(trace) * alike);
  }
  DeviceUse fullest;
  for (auto& [place, device] : devices)
    if (device.needed > fullest.needed) fullest = std::move(device);
  return fullest;
}

int64_t available_bytes(const Cluster& cluster) { return cluster.device_memory_bytes - cluster.device_reserved_bytes; }

}  // namespace

std::optional<double> memory_margin(const std::vector<RankTrace>& traces, const Cluster& cluster) {
  if (cluster.device_memory_bytes == 0) return std::nullopt;
  return 1 -
         static_cast<double>(fullest_device(traces, cluster).needed) / static_cast<double>(available_bytes(cluster));
}

std::string memory_failure(const std::vector<RankTrace>& traces, const Cluster& cluster) {
  const auto margin = memory_margin(traces, cluster);
  if (!margin || *margin >= kMemoryMargin) return "";
  const auto [needed, ranks] = fullest_device(traces, cluster);
  return fmt::format("out of memory: {} {:.1f} GiB, {} has {:.1f} GiB ({:.1f} GiB less {:.1f} GiB reserved){}",
                     ranks.size() == 1 ? fmt::format("rank {} needs", ranks[0])
                                       : fmt::format("ranks {} on one device need", fmt::join(ranks, ", ")),
                     gib(needed), cluster.device_name, gib(available_bytes(cluster)), gib(cluster.device_memory_bytes),
                     gib(cluster.device_reserved_bytes),
                     *margin >= 0 ? fmt::format(": {:.1f} % are left, too little to say that it fits ({:.0f} %)",
                                                100 * *margin, 100 * kMemoryMargin)
                                  : "");
}

ResultLine simulated_line(const TraceSet& traces, const std::vector<RankTrace>& replayed, const Cluster& cluster,
                          const std::string& compute) {
  // What was asked for, and what formulas say, holds for the simulation too; what was measured does not.
  const ResultLine& run = traces.run;
  ResultLine line{.kind = ResultKind::kSimulated,
                  .strategy = run.strategy,
                  .exact = run.exact,
                  .options = run.options,
                  .world_size = run.world_size,
                  .model = run.model,
                  .device = run.device,
                  .dtype = run.dtype,
                  .frames = run.frames,
                  .latent_frames = run.latent_frames,
                  .height = run.height,
                  .width = run.width,
                  .steps = run.steps,
                  .seed = run.seed,
                  .analytic_cost = run.analytic_cost,
                  .bubble_ratio_slots = run.bubble_ratio_slots,
                  .videos = run.videos,
                  .source_kind = run.kind,
                  .compute = compute,
                  .config = run.config,
                  .config_hash = run.config_hash,
                  .program_hash = program_hash(),
                  .provenance = run.provenance};
  line.cluster = {.name = cluster.name,
                  .nodes = cluster.nodes,
                  .devices_per_node = cluster.devices_per_node,
                  .device = cluster.device_name,
                  .device_memory_bytes = cluster.device_memory_bytes,
                  .device_reserved_bytes = cluster.device_reserved_bytes,
                  .efficiency = cluster.efficiency.basis,
                  .file_hash = text_hash(read_file(cluster.file))};
  set_rank_fields(line, replayed);
  // Of what was not replayed: each time as long as the ones around it.
  for (const RankTrace& rank : replayed)
    if (rank.repeat) {
      line.provenance["steady_state"] = {{"times", rank.repeat->times}, {"period_s", rank.repeat->period_s}};
      break;
    }
  line.latency_without_memory_limit_s = line.latency_s;
  line.memory_margin = memory_margin(replayed, cluster);
  if (const std::string failure = memory_failure(replayed, cluster); !failure.empty()) {
    line.status = ResultStatus::kFailed;
    line.error = failure;
    line.latency_s = line.first_block_s = line.videos_per_s = std::nullopt;
    line.video_latency_s = line.video_first_block_s = std::nullopt;
    line.per_video.clear();
    line.samples.clear();
  }
  return line;
}

void check_devices(const Cluster& cluster, int64_t ranks) {
  check_usage(ranks <= cluster.devices(),
              "{} ranks, but '{}' ({}) has {} device(s); `dualparal simulate --share-devices` puts several on one",
              ranks, cluster.name, cluster.file, cluster.devices());
}

namespace {

void print_summary(const ResultLine& line) {
  fmt::print("simulated {} on {} ({} ranks, {} frames): ", line.strategy, line.cluster->name, *line.world_size,
             *line.frames);
  if (line.status != ResultStatus::kOk) fmt::print("does not fit into memory; would take ");
  fmt::print("{:.3f} s", *line.latency_without_memory_limit_s);
  if (line.first_block_s) fmt::print(", first latents after {:.3f} s", *line.first_block_s);
  if (line.videos_per_s)
    fmt::print(", {} videos, {:.4g} videos/s, {:.3f} s each (p90)", *line.videos, *line.videos_per_s,
               *line.video_latency_s->p90);
  if (line.sweep.is_object()) {
    std::vector<double> seconds;
    for (const auto& [corner, value] : line.sweep.items()) seconds.push_back(value.get<double>());
    const auto [least, most] = std::ranges::minmax(seconds);
    fmt::print(" ({:.3f} to {:.3f} s over the ranges of the shares)", least, most);
  }
  fmt::print(", idle {:.1f} %, peak memory {:.2f} GiB", 100 * *line.bubble_ratio, gib(*line.peak_memory_bytes));
  if (line.host_cache_bytes.value_or(0) > 0)
    fmt::print(", {:.2f} GiB of caches in host memory", gib(*line.host_cache_bytes));
  if (line.provenance.contains("stages_as_one"))
    fmt::print(", the {} ranks of a stage as one", line.provenance["stages_as_one"].get<int64_t>());
  if (line.provenance.contains("replicas")) {
    const int64_t simulated = line.provenance["replicas"]["simulated"], all = line.provenance["replicas"]["of"];
    if (simulated < all)
      fmt::print(", {} of {} replicas simulated: the others do the same over links of their own", simulated, all);
  }
  fmt::print("\n");
}

// Latency at each end of the shares' ranges, seconds.
nlohmann::ordered_json swept_latencies(const SimulateOptions& options, const TraceSet& traces, const Cluster& cluster) {
  auto latencies = nlohmann::ordered_json::object();
  for (const auto& [corner, swept] : share_sweep(cluster)) {
    double latency = 0;
    for (const RankTrace& rank :
         replay_replicas(traces.ranks, replicas_in(traces.run), swept, durations(options, traces, swept)).traces)
      latency = std::max(latency, rank.latency_s());
    latencies[corner] = latency;
  }
  return latencies;
}

}  // namespace

void run_simulate(const SimulateOptions& options) {
  std::vector<Cluster> clusters;
  std::set<std::string> names;
  for (const auto& name : options.clusters) {
    clusters.push_back(read_cluster(named_yaml("cluster", "configs/clusters", name)));
    check_usage(names.insert(clusters.back().name).second, "--cluster: two of them describe a cluster '{}'",
                clusters.back().name);
  }
  const TraceSet traces = read_traces(options.traces);
  if (!options.share_devices)
    for (const Cluster& cluster : clusters) check_devices(cluster, *traces.run.world_size);
  std::string failure;
  for (const Cluster& cluster : clusters) {
    const int64_t replicas = replicas_in(traces.run);
    const auto [replayed, simulated] =
        replay_replicas(traces.ranks, replicas, cluster, durations(options, traces, cluster));
    ResultLine line = simulated_line(traces, replayed, cluster, options.compute);
    if (replicas > 1) line.provenance["replicas"] = {{"simulated", simulated}, {"of", replicas}};
    if (options.sweep) line.sweep = swept_latencies(options, traces, cluster);
    if (!options.timeline.empty()) {
      std::filesystem::path file = options.timeline;
      if (clusters.size() > 1)
        file.replace_filename(file.stem().string() + "_" + cluster.name + file.extension().string());
      std::vector<RankTrace> whole;
      for (const RankTrace& rank : replayed) whole.push_back(expanded(rank, kMostInTimeline / traces.ranks.size()));
      write_file(file, chrome_trace(whole).dump());
    }
    if (!options.result.empty()) append_result(options.result, line);
    if (!options.quiet) print_summary(line);
    if (line.status != ResultStatus::kOk) failure = fmt::format("{}: {}", cluster.name, *line.error);
  }
  check(failure.empty(), "{}", failure);
}

}  // namespace dualparal
