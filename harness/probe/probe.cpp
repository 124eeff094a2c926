// SPDX-License-Identifier: Apache-2.0
#include "harness/probe/probe.h"

#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/chrono.h>

#include <ctime>
#include <map>
#include <set>

#include "base/device.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/parse_json.h"
#include "comm/nccl_communicator.h"
#include "comm/rank_group.h"
#include "harness/record/statistics.h"
#include "harness/run/clock_alignment.h"
#include "harness/run/launcher.h"
#include "harness/run/rank_device.h"

namespace dualparal {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const LinkFigures& figures) {
  auto samples = Json::array();
  for (const LinkSample& sample : figures.samples) samples.push_back({sample.bytes, sample.seconds});
  return {{"samples", samples}, {"post_s", figures.post_s}};
}

LinkFigures figures_of(const Json& json) {
  std::vector<LinkSample> samples;
  for (const Json& sample : json.at("samples")) samples.push_back({sample.at(0), sample.at(1)});
  return fit_link(std::move(samples), json.at("post_s"));
}

// The median of links of one kind; without any, there is no such link.
LinkSpec typical(const std::vector<ProbedLink>& links, bool one_machine) {
  std::vector<double> latency, bandwidth;
  for (const ProbedLink& link : links)
    if (link.one_machine == one_machine) {
      latency.push_back(link.figures.latency_s);
      bandwidth.push_back(link.figures.bytes_per_s);
    }
  return latency.empty() ? LinkSpec{} : LinkSpec{median(bandwidth), median(latency)};
}

std::string size_text(int64_t bytes) {
  return bytes < (1 << 20) ? fmt::format("{} KiB", bytes >> 10) : fmt::format("{} MiB", bytes >> 20);
}

// Every rank and the next, a pair at a time, while the others wait. On rank 0, all of them.
std::vector<ProbedLink> measure_links(Communicator& comm, const at::Device& device) {
  const auto hosts = comm.gather(clock_host());
  std::vector<Link> links;
  for (int64_t rank = 0; rank + 1 < comm.world_size(); ++rank)
    for (const Link& link : probed_links(rank, rank + 1)) links.push_back(link);
  comm.connect(links);
  std::vector<ProbedLink> found;
  for (int64_t rank = 0; rank + 1 < comm.world_size(); ++rank) {
    comm.barrier();
    const LinkFigures own = measure_link(comm, device, rank, rank + 1, link_sizes());
    const auto texts = comm.gather(own.samples.empty() ? "null" : to_json(own).dump());
    found.push_back({rank, rank + 1, hosts[rank] == hosts[rank + 1], figures_of(parse_json<Json>(texts.at(rank)))});
  }
  return found;
}

void count_nodes(const std::vector<std::string>& hosts, Probe& probe) {
  std::map<std::string, int64_t> ranks;
  for (const auto& host : hosts) ++ranks[host];
  std::set<int64_t> counts;
  for (const auto& [host, count] : ranks) counts.insert(count);
  check(counts.size() == 1, "the machines have {} ranks: a cluster file describes machines that are alike",
        fmt::join(counts, " and "));
  probe.nodes = static_cast<int64_t>(ranks.size());
  probe.devices_per_node = *counts.begin();
}

Probe measure(const ProbeOptions& options, RankGroup& group, const at::Device& device) {
  Communicator& comm = group.comm();
  Probe probe{.device_name = device_description(device),
              .backend = options.backend,
              .dtype = options.dtype,
              .date = fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr))),
              .overlaps = device.is_cuda(),
              .rates = {}};
  count_nodes(comm.gather(clock_host()), probe);
  if (device.is_cuda())
    probe.device_memory_bytes =
        static_cast<int64_t>(c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).second);
  comm.barrier();  // all at once: ranks of one machine share its memory, and its power
  std::vector<DeviceRates> rates;
  for (const auto& text : comm.gather(to_json(measure_device(device, options.dtype, options.seconds)).dump()))
    rates.push_back(device_rates_of(parse_json<Json>(text)));
  probe.rates = median_rates(rates);
  probe.links = measure_links(comm, device);
  return probe;
}

// The command line of a rank.
std::vector<std::string> arguments_of(const ProbeOptions& o) {
  std::vector<std::string> arguments{"calibrate", "--probe",
                                     "--device",  o.device,
                                     "--dtype",   o.dtype,
                                     "--backend", o.backend,
                                     "--nproc",   std::to_string(o.nproc),
                                     "--threads", std::to_string(o.threads),
                                     "--seconds", fmt::format("{}", o.seconds)};
  if (!o.output.empty()) arguments.insert(arguments.end(), {"--output", o.output.string()});
  return arguments;
}

void probe_as_rank(const ProbeOptions& options, const std::optional<RankEnvironment>& environment) {
  if (options.device == "cpu") at::set_num_threads(static_cast<int>(options.threads));
  if (options.backend == "nccl") load_nccl_module();
  const at::Device device = rank_device(options.device, environment);
  Recorder recorder(device);
  RankGroup group(environment, {std::chrono::seconds(120), options.backend, device}, recorder);
  try {
    recorder.set_phase("measuring devices and links");
    const Probe probe = measure(options, group, device);
    if (group.rank() != 0) return;
    fmt::print("{}", probe.text());
    if (options.output.empty()) return;
    write_file(options.output, cluster_yaml(probe.cluster()));
    fmt::print("wrote {}\n", options.output.string());
  } catch (const std::exception& error) {
    if (group.world_size() > 1) group.end(group.explain(error));
    throw;
  }
}

}  // namespace

std::string Probe::text() const {
  constexpr double kGiga = 1e9, kMicro = 1e-6;
  std::string out = fmt::format("{} rank(s) on {}, measured at the same time\n", nodes * devices_per_node, device_name);
  for (const auto& [name, rate] : rates.product_flops_per_s)
    out += fmt::format("  products {:<6}  {:>10.1f} GFLOP/s\n", name, rate / kGiga);
  out += fmt::format("  attention {:<5}  {:>10.1f} GFLOP/s\n", dtype, rates.attention_flops_per_s / kGiga);
  out += fmt::format("  convolution {:<3} {:>10.1f} GFLOP/s\n", dtype, rates.convolution_flops_per_s / kGiga);
  out += fmt::format("  copies           {:>10.1f} GB/s, read and written\n", rates.copy_bytes_per_s / kGiga);
  out += fmt::format("  an operation     {:>10.2f} us of the host\n", rates.operation_s / kMicro);
  for (const ProbedLink& link : links) {
    out += fmt::format("{} between ranks {} and {}{}\n", backend, link.from, link.to,
                       link.one_machine ? "" : ", on two machines");
    for (const LinkSample& sample : link.figures.samples)
      out += fmt::format("  {:>8}  {:>10.1f} us  {:>8.3f} GB/s\n", size_text(sample.bytes), sample.seconds / kMicro,
                         static_cast<double>(sample.bytes) / sample.seconds / kGiga);
    out += fmt::format("  fitted: {:.1f} us to post, {:.1f} us latency, {:.3f} GB/s\n", link.figures.post_s / kMicro,
                       link.figures.latency_s / kMicro, link.figures.bytes_per_s / kGiga);
  }
  return out;
}

Cluster Probe::cluster() const {
  check(!links.empty(), "--output: one rank has no links to measure; give --nproc 2 or more");
  std::vector<double> posting;
  for (const ProbedLink& link : links) posting.push_back(link.figures.post_s);
  const double product = rates.product_flops_per_s.at(dtype);
  Cluster c;
  c.name = fmt::format("{}x-probed", nodes * devices_per_node);
  c.description = fmt::format("measured by `dualparal calibrate --probe` on {}; links: {}", date, backend);
  c.nodes = nodes;
  c.devices_per_node = devices_per_node;
  c.device_name = device_name;
  c.device_memory_bytes = device_memory_bytes;
  c.flops_per_s = rates.product_flops_per_s;
  c.memory_bytes_per_s = rates.copy_bytes_per_s;
  c.efficiency = {.basis = fmt::format("calibrated by a probe in {}: rates of single operations", dtype),
                  .matmul = 1,
                  .attention = rates.attention_flops_per_s / product,
                  .convolution = rates.convolution_flops_per_s / product,
                  .memory = 1,
                  .operation_s = rates.operation_s,
                  .operation_overlaps = overlaps};
  c.device_link = typical(links, true);
  c.node_link = typical(links, false);
  if (c.device_link.bytes_per_s == 0) c.device_link = c.node_link;  // a rank on each machine: nobody has a neighbour
  c.message_s = median(posting);
  return c;
}

void run_probe(const ProbeOptions& options) {
  check_backend(options.backend, options.device);
  parse_dtype(options.dtype);
  if (options.backend == "nccl") {
    set_nccl_environment();  // no thread has been started yet
    find_nccl_module();
  }
  const auto environment = rank_environment();
  check_usage(environment || options.nproc > 1 || options.output.empty(),
              "--output: one rank has no links to measure; give --nproc 2 or more");
  if (!environment && options.nproc > 1) return launch_ranks(arguments_of(options), options.nproc);
  probe_as_rank(options, environment);
}

}  // namespace dualparal
