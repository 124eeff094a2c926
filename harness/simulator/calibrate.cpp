// SPDX-License-Identifier: Apache-2.0
#include "harness/simulator/calibrate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

#include "base/data_dir.h"
#include "base/errors.h"
#include "base/files.h"
#include "harness/record/statistics.h"
#include "harness/simulator/least_squares.h"
#include "harness/simulator/replay.h"

namespace dualparal {
namespace {

using Kind = Event::Kind;

// What time is a sum of: FLOPs of each kind, bytes, operations.
constexpr size_t kTerms = 5;
struct Sample {
  std::array<double, kTerms> amount;
  double seconds = 0, weight = 1;
};

std::array<double, kTerms> terms(const Work& w) {
  return {w.matmul_flops, w.attention_flops, w.convolution_flops, w.moved_bytes, static_cast<double>(w.operations)};
}

// Computations of the same work are one sample: their median, with the weight of all their time.
std::vector<Sample> samples_of(const std::vector<TraceSet>& sets) {
  std::vector<Sample> samples;
  for (const TraceSet& set : sets) {
    std::map<std::array<double, kTerms>, std::vector<double>> alike;
    for (const RankTrace& rank : set.ranks)
      for (const Event& e : rank.events)
        if (e.kind == Kind::kCompute && e.work.operations > 0) alike[terms(e.work)].push_back(e.end_s - e.begin_s);
    for (const auto& [amount, seconds] : alike)
      if (const double typical = median(seconds); typical > 0)
        samples.push_back({amount, typical, typical * static_cast<double>(seconds.size())});
  }
  return samples;
}

// What Cluster::compute_seconds makes of a computation.
double modelled(const std::array<double, kTerms>& x, const std::array<double, kTerms>& amount, bool overlaps) {
  double device = 0;
  for (size_t i = 0; i + 1 < kTerms; ++i) device += x[i] * amount[i];
  const double host = x[kTerms - 1] * amount[kTerms - 1];
  return overlaps ? std::max(device, host) : device + host;
}

// Where operations are started ahead, a computation tells of the device or of the host, whichever took longer: which
// one is settled in turns with the fit, until no computation changes sides.
std::array<double, kTerms> fit_computations(const std::vector<std::array<double, kTerms>>& amounts,
                                            const std::vector<double>& seconds, const std::vector<double>& weights,
                                            bool overlaps) {
  auto x = fit_relative(amounts, seconds, weights);
  if (!overlaps) return x;
  constexpr int kRounds = 50;
  std::vector<bool> by_host, before;
  for (int round = 0; round < kRounds && (round == 0 || by_host != before); ++round) {
    before = std::exchange(by_host, {});
    auto rows = amounts;
    for (auto& row : rows) {
      std::array<double, kTerms> host{};
      host[kTerms - 1] = std::exchange(row[kTerms - 1], 0.0);
      by_host.push_back(x[kTerms - 1] * host[kTerms - 1] > modelled(x, row, true));
      if (by_host.back()) row = host;
    }
    x = fit_relative(rows, seconds, weights);
  }
  return x;
}

// Seconds of the messages whose receiver was waiting when they were sent, and of posting any.
struct MessageTimes {
  std::vector<std::array<double, 2>> amounts;  // 1, bytes
  std::vector<double> seconds, posting;
};

void add_messages(const TraceSet& set, MessageTimes& out) {
  std::map<std::tuple<int64_t, int64_t, Channel>, std::vector<const Event*>> sends;
  const auto ranks = static_cast<int64_t>(set.ranks.size());
  for (int64_t rank = 0; rank < ranks; ++rank)
    for (const Event& e : set.ranks[rank].events)
      if (e.kind == Kind::kSend) {
        sends[{rank, e.peer, e.channel}].push_back(&e);
        out.posting.push_back(e.end_s - e.begin_s);
      }
  std::map<int64_t, std::vector<double>> by_bytes;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    std::map<std::pair<int64_t, Channel>, size_t> received;
    for (const Event& e : set.ranks[rank].events) {
      if (e.kind != Kind::kReceive) continue;
      const size_t number = received[{e.peer, e.channel}]++;
      const auto& sent = sends[{e.peer, rank, e.channel}];
      if (number < sent.size() && e.begin_s <= sent[number]->begin_s)
        by_bytes[e.bytes].push_back(e.end_s - sent[number]->begin_s);
    }
  }
  for (const auto& [bytes, seconds] : by_bytes) {
    out.amounts.push_back({1, static_cast<double>(bytes)});
    out.seconds.push_back(median(seconds));
  }
}

double latency_of(const std::vector<RankTrace>& traces) {
  double latency = 0;
  for (const RankTrace& trace : traces) latency = std::max(latency, trace.latency_s());
  return latency;
}

// Moving bytes takes the processor from what computes there, which no event shows: the seconds a byte with which the
// runs of several ranks, replayed, last as long as they did.
double fit_message_byte_s(const std::vector<TraceSet>& sets, Cluster cluster, const std::string& dtype) {
  const auto error_with = [&](double seconds) {
    cluster.message_byte_s = seconds;
    double sum = 0;
    for (const TraceSet& set : sets) {
      if (set.ranks.size() < 2) continue;
      const auto out =
          replay(set.ranks, cluster, [&](const Event& e) { return cluster.compute_seconds(e.work, dtype); });
      const double relative = latency_of(out) / latency_of(set.ranks) - 1;
      sum += relative * relative;
    }
    return sum;
  };
  double low = 0, high = 4e-9;  // down to 0.25 GB/s
  constexpr double kGolden = 0.618;
  for (int round = 0; round < 16; ++round) {
    const double left = high - kGolden * (high - low), right = low + kGolden * (high - low);
    if (error_with(left) < error_with(right))
      high = right;
    else
      low = left;
  }
  const double found = (low + high) / 2;
  return error_with(found) < error_with(0) ? found : 0;
}

// The dtype of all traces. Error unless they can be calibrated together.
std::string dtype_of(const std::vector<TraceSet>& sets) {
  check(!sets.empty(), "calibration: no traces");
  const auto dtype = *sets[0].run.dtype;
  for (const TraceSet& set : sets) {
    check(set.run.dtype == dtype, "calibration: traces in {} and {}; calibrate each on its own", dtype, *set.run.dtype);
    for (const RankTrace& rank : set.ranks) check(rank.timed, "calibration: a trace without times (mode trace)");
  }
  return dtype;
}

// The shares of `base`'s rates.
void fit_shares(const std::vector<TraceSet>& sets, const Cluster& base, const std::string& dtype, Calibration& result) {
  const auto samples = samples_of(sets);
  check(!samples.empty(), "calibration: the traces carry no work; make them with `generate --traces`");
  std::vector<std::array<double, kTerms>> amounts;
  std::vector<double> seconds, weights;
  for (const Sample& s : samples) {
    amounts.push_back(s.amount);
    seconds.push_back(s.seconds);
    weights.push_back(s.weight);
  }
  const bool overlaps = base.efficiency.operation_overlaps;
  const auto x = fit_computations(amounts, seconds, weights, overlaps);
  const auto rate = base.flops_per_s.find(dtype);
  check(rate != base.flops_per_s.end(), "{}: device.flops_per_s has no {}", base.file, dtype);
  // A kind of work that costs nothing beside the others has no rate to tell: a hundred times the described one.
  const auto share = [](double per_unit, double peak) { return per_unit > 0 ? 1 / (per_unit * peak) : 100.0; };
  result.cluster.efficiency = {.basis = "",
                               .matmul = share(x[0], rate->second),
                               .attention = share(x[1], rate->second),
                               .convolution = share(x[2], rate->second),
                               .memory = share(x[3], base.memory_bytes_per_s),
                               .range = base.efficiency.range,
                               .operation_s = x[4],
                               .operation_overlaps = overlaps};
  std::vector<double> errors;
  for (const Sample& s : samples) {
    errors.push_back(std::abs(modelled(x, s.amount, overlaps) - s.seconds) / s.seconds);
    result.computations += std::llround(s.weight / s.seconds);
  }
  result.median_error = median(errors);
}

// What messages take, where there were any.
void fit_links(const std::vector<TraceSet>& sets, const Cluster& base, const std::string& dtype, Calibration& result) {
  MessageTimes messages;
  std::vector<TraceSet> together;  // emulated ranks send nothing and share no clock
  for (const TraceSet& set : sets)
    if (set.run.kind == ResultKind::kMeasured) together.push_back(set);
  for (const TraceSet& set : together) {
    if (set.ranks.size() > 1)  // traces that cannot have happened tell nothing of a cluster
      replay(set.ranks, base, [](const Event& e) { return std::max(0.0, e.end_s - e.begin_s); });
    add_messages(set, messages);
  }
  result.messages = static_cast<int64_t>(messages.posting.size());
  if (messages.amounts.size() < 2) return;
  const auto link = fit_relative(messages.amounts, messages.seconds, std::vector<double>(messages.seconds.size(), 1.0));
  Cluster& c = result.cluster;
  c.message_s = median(messages.posting);
  c.device_link.latency_s = std::max(0.0, link[0] - c.message_s);
  if (link[1] > 0) c.device_link.bytes_per_s = 1 / link[1];
  c.message_byte_s = fit_message_byte_s(together, c, dtype);
}

}  // namespace

Calibration calibrate(const std::vector<TraceSet>& sets, const Cluster& base) {
  Calibration result{.cluster = base};
  const auto dtype = dtype_of(sets);
  fit_shares(sets, base, dtype, result);
  fit_links(sets, base, dtype, result);
  result.cluster.efficiency.basis = fmt::format(
      "calibrated in {} on {} computations and {} messages of {} runs; median error of a "
      "computation {:.1f} %",
      dtype, result.computations, result.messages, sets.size(), 100 * result.median_error);
  return result;
}

std::string Calibration::text() const {
  const Efficiency& e = cluster.efficiency;
  return fmt::format(
      "{}\n  shares of the described rates: matrix products {:.3f}, attention {:.3f}, convolutions {:.3f}, memory "
      "{:.3f}\n  {:.2f} us for each operation; messages: {:.1f} us and {:.3g} ns a byte to post, {:.1f} us latency, "
      "{:.3g} GB/s\n",
      e.basis, e.matmul, e.attention, e.convolution, e.memory, e.operation_s * 1e6, cluster.message_s * 1e6,
      cluster.message_byte_s * 1e9, cluster.device_link.latency_s * 1e6, cluster.device_link.bytes_per_s / 1e9);
}

void run_calibrate(const CalibrateOptions& options) {
  const Cluster described = read_cluster(named_yaml("cluster", "configs/clusters", options.cluster));
  std::vector<TraceSet> sets;
  for (const auto& folder : options.traces) sets.push_back(read_traces(folder));
  const Calibration calibration = calibrate(sets, described);
  fmt::print("{}", calibration.text());
  write_file(options.output, cluster_yaml(calibration.cluster));
  fmt::print("wrote {}\n", options.output.string());
}

}  // namespace dualparal
