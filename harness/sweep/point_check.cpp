// SPDX-License-Identifier: Apache-2.0
#include "harness/sweep/point_check.h"

#include <algorithm>
#include <map>

#include "base/errors.h"
#include "base/nearest.h"
#include "base/progress.h"
#include "harness/options/prompt_list.h"
#include "harness/options/resolve_options.h"
#include "harness/run/generate.h"
#include "harness/simulator/simulate.h"
#include "harness/sweep/bench_point.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

constexpr size_t kLongestValue = 40;

// Empty if the point can run.
std::string problem_of(const Point& point) {
  try {
    GenerateOptions options = parse_flags(point.flags);
    const WanModel model = resolve_generate_options(options);
    check_usage(options.video.listed_prompts.empty() || in_scenario(options),
                "--prompt-list {}: a point is one result line: give it a --scenario", options.video.prompt_list);
    options.sampling.initial_noise.clear();  // a file may come to be before the point's turn
    const int64_t ranks = options.run.mode == Mode::kRun ? options.run.nproc : options.run.world_size;
    check_possible(options, model, ranks);
    if (!point.cluster.empty()) check_devices(read_cluster(point.cluster), ranks);
    return "";
  } catch (const std::exception& error) {
    return first_line(error.what());
  }
}

// What a condition is about; nothing if the point leaves the flag to its default.
std::string value_of(const Point& point, const std::string& flag) {
  if (flag == "cluster") return point.cluster.stem().string();
  if (flag == "repeat") return std::to_string(point.repeat);
  const auto found = point.flags.find(flag);
  return found == point.flags.end() ? "" : found->second;
}

std::vector<std::string> known_flags(const Experiment& experiment) {
  std::set<std::string> names{"cluster", "repeat"};
  for (const Point& point : experiment.points)
    for (const auto& [flag, value] : point.flags) names.insert(flag);
  return {names.begin(), names.end()};
}

}  // namespace

void keep_only(Experiment& experiment, const std::vector<std::string>& conditions) {
  const auto known = known_flags(experiment);
  std::map<std::string, std::set<std::string>> wanted;
  for (const std::string& condition : conditions) {
    const size_t equals = condition.find('=');
    check_usage(equals != std::string::npos, "--only {}: expected FLAG=VALUE, as strategy=dualparal", condition);
    const std::string flag = condition.substr(0, equals);
    check_usage(std::ranges::find(known, flag) != known.end(), "--only {}: the experiment sets no '{}'{}; it sets {}",
                condition, flag, did_you_mean(flag, known), fmt::join(known, ", "));
    std::set<std::string> values;
    for (const Point& point : experiment.points) values.insert(value_of(point, flag));
    const std::string value = condition.substr(equals + 1);
    check_usage(values.contains(value), "--only {}: no point has it{}; there are: {}", condition,
                did_you_mean(value, {values.begin(), values.end()}), fmt::join(values, ", "));
    wanted[flag].insert(value);
  }
  std::erase_if(experiment.points, [&](const Point& point) {
    return !std::ranges::all_of(wanted,
                                [&](const auto& one) { return one.second.contains(value_of(point, one.first)); });
  });
  check_usage(!experiment.points.empty(), "--only {}: no point has all of these", fmt::join(conditions, " --only "));
}

void check_points(const Experiment& experiment) {
  const auto varied = varied_flags(experiment);
  std::map<std::pair<Flags, std::string>, std::string> known;  // a point's repeats are checked once
  std::vector<std::string> reasons;
  std::map<std::string, std::vector<std::string>> labels;  // by reason
  size_t count = 0;
  for (const Point& point : experiment.points) {
    if (!point.skip_reason.empty()) continue;
    const auto [found, is_new] = known.try_emplace({point.flags, point.cluster.string()});
    if (is_new) found->second = problem_of(point);
    if (found->second.empty()) continue;
    ++count;
    if (!is_new) continue;
    if (labels[found->second].empty()) reasons.push_back(found->second);
    labels[found->second].push_back(long_label(point, varied));
  }
  std::vector<std::string> texts;
  for (const auto& reason : reasons) texts.push_back(fmt::format("({}): {}", fmt::join(labels[reason], "; "), reason));
  check_usage(texts.empty(), "{} of {} points cannot run; nothing was started. {}", count, experiment.points.size(),
              fmt::join(texts, ". "));
}

std::string long_label(const Point& point, const std::set<std::string>& varied) {
  static const std::set<std::string> in_label{"strategy", "world-size", "nproc", "frames"};
  std::string label = point.label();
  for (const auto& [flag, value] : point.flags) {
    if (!varied.contains(flag) || in_label.contains(flag)) continue;
    label += ", " + flag;
    if (value == "true") continue;
    label += " " + (value.size() <= kLongestValue ? value : value.substr(0, kLongestValue - 3) + "...");
  }
  return label;
}

std::string list_points(const Experiment& experiment, const std::vector<ResultLine>& lines) {
  std::map<std::string, ResultStatus> status;  // by point
  double seconds = 0;
  int64_t timed = 0, left = 0, number = 0;
  for (const ResultLine& line : lines) {
    if (line.point) status[*line.point] = line.status;
    if (!line.total_s) continue;
    seconds += *line.total_s;
    ++timed;
  }
  const auto varied = varied_flags(experiment);
  std::string text;
  for (const Point& point : experiment.points) {
    const auto found = status.find(point.key());
    std::string state = found == status.end()                ? "to do"
                        : found->second == ResultStatus::kOk ? "done"
                                                             : status_name(found->second);
    if (state == "to do" && point.cluster.empty() && point.skip_reason.empty()) ++left;
    if (state == "to do" && !point.skip_reason.empty()) state = "to be skipped (" + point.skip_reason + ")";
    text += fmt::format("{}/{} {}{}: {}\n", ++number, experiment.points.size(), long_label(point, varied),
                        point.repeat > 0 ? fmt::format(" (repeat {})", point.repeat) : "", state);
  }
  text += fmt::format(
      "{} to run{}\n", left,
      timed > 0 && left > 0
          ? fmt::format(", about {} if they take as long as the {} lines there",
                        duration_text(seconds / static_cast<double>(timed) * static_cast<double>(left)), timed)
          : "");
  return text;
}

}  // namespace dualparal
