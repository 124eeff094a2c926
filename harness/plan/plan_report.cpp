// SPDX-License-Identifier: Apache-2.0
#include "harness/plan/plan_report.h"

#include <algorithm>
#include <limits>
#include <map>

#include "base/bytes.h"
#include "base/shell.h"

namespace dualparal {
namespace {

using Kind = Verdict::Kind;

// What a simulation does not tell apart: about its error against a clock (docs/simulation.md).
constexpr double kAlike = 1.05;

std::vector<const Judged*> ranked(const std::vector<Judged>& judged) {
  std::vector<const Judged*> order;
  for (const Judged& one : judged)
    if (one.verdict.kind == Kind::kSimulated) order.push_back(&one);
  std::ranges::stable_sort(order, {}, [](const Judged* one) { return one->verdict.seconds; });
  if (order.empty()) return order;
  const double alike = kAlike * order.front()->verdict.seconds;
  const auto others = std::ranges::find_if(order, [&](const Judged* one) { return one->verdict.seconds > alike; });
  std::stable_partition(order.begin(), others, [](const Judged* one) { return one->candidate.exact; });
  return order;
}

int64_t count(const std::vector<Judged>& judged, Kind kind) {
  return std::ranges::count_if(judged, [&](const Judged& one) { return one.verdict.kind == kind; });
}

std::string heading_text(const PlanHeading& h, const std::vector<Judged>& judged) {
  const auto& video = h.options.video;
  std::string text = fmt::format("{}, {} frames of {}x{}, {} steps, {}, on {} of {}: simulated\n", h.model,
                                 *video.frames, *video.width, *video.height, *h.options.sampling.steps,
                                 h.options.model.dtype, h.devices, h.cluster.name);
  text += fmt::format(
      "{} candidates: {} simulated; {} cannot be as fast as one of them; {} need more memory; {} cannot "
      "run\n",
      judged.size(), count(judged, Kind::kSimulated), count(judged, Kind::kSlower), count(judged, Kind::kTooLarge),
      count(judged, Kind::kImpossible));
  return text;
}

std::string row(size_t place, const Judged& one) {
  const ResultLine& line = one.verdict.line;
  return fmt::format("{:>4}  {:>10.2f}  {:>13.2f}  {:>10.2f}  {:>6.1f}  {:<5}  {}\n", place, *line.latency_s,
                     line.first_block_s.value_or(*line.latency_s), gib(one.verdict.memory_bytes),
                     100 * line.bubble_ratio.value_or(0), one.candidate.exact ? "yes" : "no", one.candidate.flags());
}

// Of the time of all ranks.
std::string where_time_goes(const ResultLine& line) {
  double compute = 0, communication = 0, idle = 0;
  for (const RankLine& rank : line.per_rank) {
    compute += rank.compute_s.value_or(0);
    communication += rank.communication_s.value_or(0);
    idle += rank.idle_s.value_or(0);
  }
  const double all = std::max(1e-30, compute + communication + idle);
  return fmt::format("{:.0f} % computing, {:.0f} % in messages, {:.0f} % idle; {:.3g} TFLOP in all",
                     100 * compute / all, 100 * communication / all, 100 * idle / all, line.flops.value_or(0) / 1e12);
}

// A strategy's candidates: the best of what could be said of any.
std::string why(const std::vector<const Judged*>& own, double fastest) {
  const auto best = [&](Kind kind, auto value) {
    const Judged* least = nullptr;
    for (const Judged* one : own)
      if (one->verdict.kind == kind && (!least || value(*one) < value(*least))) least = one;
    return least;
  };
  const auto seconds = [](const Judged& one) { return one.verdict.seconds; };
  const auto memory = [](const Judged& one) { return static_cast<double>(one.verdict.memory_bytes); };
  const Judged* simulated = best(Kind::kSimulated, seconds);
  const Judged* slower = best(Kind::kSlower, seconds);
  const Judged* large = best(Kind::kTooLarge, memory);
  if (simulated && !(slower && slower->verdict.seconds < simulated->verdict.seconds)) {
    std::string text = fmt::format("{:.2f} s, {:.2f} times the fastest: {}", simulated->verdict.seconds,
                                   simulated->verdict.seconds / fastest, where_time_goes(simulated->verdict.line));
    if (large)
      text += fmt::format("; others of it need more memory, at least {:.1f} GiB", gib(large->verdict.memory_bytes));
    return text;
  }
  if (slower) return fmt::format("at least {:.2f} s, by what a rank computes and waits for", slower->verdict.seconds);
  if (large) return "needs more memory: " + large->verdict.reason;
  return "cannot run: " + own.front()->verdict.reason;
}

std::string command(const PlanHeading& h, const Candidate& candidate) {
  const GenerateOptions& o = h.options;
  std::string text = fmt::format(
      "dualparal generate --model {} --device {} --dtype {} --frames {} --width {} --height {} --steps {} {}",
      quoted_for_shell(o.model.dir), o.model.device, o.model.dtype, *o.video.frames, *o.video.width, *o.video.height,
      *o.sampling.steps, candidate.flags());
  if (candidate.ranks > 1 && o.model.device.starts_with("cuda")) text += " --backend nccl";
  text += h.from_image ? " --image FILE.png" : "";
  text += " --prompt TEXT --output FILE.mp4";
  if (candidate.ranks > h.cluster.devices_per_node)
    text +=
        fmt::format("\n  (of {} machines: without --nproc, by a launcher of {} ranks)",
                    (candidate.ranks + h.cluster.devices_per_node - 1) / h.cluster.devices_per_node, candidate.ranks);
  return text;
}

}  // namespace

std::string plan_report(const PlanHeading& heading, const std::vector<Judged>& judged) {
  std::string text = heading_text(heading, judged);
  const auto order = ranked(judged);
  if (!order.empty()) text += "\nrank   latency s  first block s  memory GiB  idle %  exact\n";
  for (size_t i = 0; i < order.size() && static_cast<int64_t>(i) < heading.rows; ++i) text += row(i + 1, *order[i]);

  double fastest = std::numeric_limits<double>::infinity();
  for (const Judged* one : order) fastest = std::min(fastest, one->verdict.seconds);
  text += "\nBy strategy:\n";
  std::vector<std::string> names;
  std::map<std::string, std::vector<const Judged*>> by_name;
  for (const Judged& one : judged) {
    auto& own = by_name[one.candidate.strategy];
    if (own.empty()) names.push_back(one.candidate.strategy);
    own.push_back(&one);
  }
  for (const auto& name : names) text += fmt::format("  {:<16} {}\n", name, why(by_name[name], fastest));
  if (order.empty()) return text;
  text += fmt::format("\nThe first choice:\n  {}\n", command(heading, order[0]->candidate));
  const auto exact = std::ranges::find_if(order, [](const Judged* one) { return one->candidate.exact; });
  if (exact != order.end() && exact != order.begin())
    text += fmt::format("The fastest that gives what `single` gives ({:.2f} s):\n  {}\n", (*exact)->verdict.seconds,
                        command(heading, (*exact)->candidate));
  return text;
}

}  // namespace dualparal
