// SPDX-License-Identifier: Apache-2.0
#include "harness/sweep/experiment.h"

#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>

#include "base/data_dir.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/nearest.h"
#include "base/yaml_file.h"
#include "harness/options/generate_options.h"
#include "harness/options/strategies.h"

namespace dualparal {
namespace {

// Crossed with one another: each flag's values in turn.
using Sweep = std::vector<std::pair<std::string, std::vector<std::string>>>;

// Flags that bench itself sets.
const std::set<std::string> kReserved = {
    "result",     "output",      "strategy",           "quiet",    "save-latents",
    "save-noise", "save-frames", "save-prompt-embeds", "timeline", "reference-latents",
    "traces"};

constexpr int64_t kMostRepeats = 10'000;
constexpr size_t kMostPoints = 100'000;
constexpr size_t kLongestValue = 100'000;  // Linux takes arguments of up to 128 KiB
std::filesystem::path folder_of(const std::filesystem::path& file) {
  return file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
}

class Reader {
 public:
  explicit Reader(const std::filesystem::path& file) : file_(file.string()) {
    GenerateOptions options;
    CLI::App app;
    add_generate_options(app, options);
    for (const auto* option : app.get_options())
      for (const auto& name : option->get_lnames()) known_flags_.insert(name);
  }

  Experiment read() const {
    try {
      return read(load_yaml(file_));
    } catch (const YAML::Exception& error) {  // a key that is a list, for instance
      throw UsageError(fmt::format("{}:{}: {}", file_, error.mark.line + 1, error.msg));
    }
  }

 private:
  Experiment read(const YAML::Node& root) const {
    check_usage(root.IsMap(), "{}: expected a map with name, strategies, sweep, ...", file_);
    static const std::set<std::string> keys = {
        "name",      "title",     "model",           "mode",  "device", "dtype", "repeat",     "warmup", "videos",
        "timelines", "reference", "error_vs_single", "bands", "base",   "sweep", "strategies", "skip",   "clusters"};
    for (const auto& item : root) check_key(item.first, keys);

    Experiment experiment;
    check_usage(root["name"] && root["name"].IsScalar(), "{}: 'name' is missing", file_);
    experiment.name = root["name"].as<std::string>();
    check_usage(!experiment.name.empty() && experiment.name.find('/') == std::string::npos,
                "{}: 'name' must be a file name", at(root["name"]));
    experiment.title = root["title"] ? root["title"].as<std::string>() : experiment.name;
    experiment.repeat = root["repeat"] ? number(root["repeat"], 1) : 1;
    Flags base = flags(root["base"]);
    for (const char* key : {"model", "mode", "device", "dtype"})
      if (root[key]) base[key] = scalar(root[key]);
    if (root["warmup"]) base["warmup-steps"] = std::to_string(number(root["warmup"], 0));
    // The first step of a process pages in weights and starts threads. On a GPU, generate warms up by itself.
    const bool runs_on_cpu =
        (!base.contains("mode") || base["mode"] == "run") && (!base.contains("device") || base["device"] == "cpu");
    if (runs_on_cpu && !base.contains("warmup-steps")) base["warmup-steps"] = "1";
    const Sweep common = sweep(root["sweep"]);
    check_usage(root["strategies"] && root["strategies"].IsSequence() && root["strategies"].size() > 0,
                "{}: 'strategies' expected a list of names, or of maps with 'name'", file_);
    for (const auto& entry : root["strategies"]) add_strategy(experiment, entry, base, common);
    if (root["clusters"]) add_clusters(experiment, root["clusters"]);
    mark_skipped(experiment, root["skip"]);
    mark_checked(experiment, root["error_vs_single"]);
    for (auto& point : experiment.points) {
      if (point.repeat > 0) continue;
      // Emulated and traced points have neither; their simulations have a clock.
      point.video = wanted(point, root["videos"]) && runs(point);
      point.timeline = wanted(point, root["timelines"]) && (runs(point) || !point.cluster.empty());
      point.reference = wanted(point, root["reference"]);
      point.bands = wanted(point, root["bands"]) && !point.cluster.empty();
      if (point.reference) check_can_be_compared(point, root["reference"]);
    }
    return experiment;
  }

  std::string at(const YAML::Node& node) const { return fmt::format("{}:{}", file_, node.Mark().line + 1); }

  void check_key(const YAML::Node& node, const std::set<std::string>& known) const {
    const std::string key = scalar(node);
    check_usage(known.contains(key), "{}: unknown key '{}'{}; there are: {}", at(node), key,
                did_you_mean(key, {known.begin(), known.end()}), fmt::join(known, ", "));
  }

  std::string scalar(const YAML::Node& node) const {
    check_usage(node.IsScalar(), "{}: expected a single value", at(node));
    auto value = node.as<std::string>();
    check_usage(
        value.size() <= kLongestValue && value.find('\0') == std::string::npos,
        "{}: a value of {} bytes, expected at most {} and none that is zero: no program can be started with another",
        at(node), value.size(), kLongestValue);
    return value;
  }

  int64_t number(const YAML::Node& node, int64_t minimum, int64_t most = kMostRepeats) const {
    try {
      const auto value = node.as<int64_t>();
      check_usage(value >= minimum && value <= most, "{}: expected a number of at least {} and at most {}, got {}",
                  at(node), minimum, most, value);
      return value;
    } catch (const YAML::Exception&) {
      throw UsageError(fmt::format("{}: expected a number", at(node)));
    }
  }

  std::string flag_name(const YAML::Node& node) const {
    std::string name = scalar(node);
    std::replace(name.begin(), name.end(), '_', '-');
    check_usage(known_flags_.contains(name), "{}: 'generate' has no flag --{}{}", at(node), name,
                did_you_mean(name, {known_flags_.begin(), known_flags_.end()}));
    check_usage(!kReserved.contains(name), "{}: --{} is set by bench itself", at(node), name);
    return name;
  }

  Flags flags(const YAML::Node& node) const {
    Flags result;
    if (!node) return result;
    check_usage(node.IsMap(), "{}: expected a map of flags", at(node));
    for (const auto& item : node) result[flag_name(item.first)] = scalar(item.second);
    return result;
  }

  Sweep sweep(const YAML::Node& node) const {
    Sweep result;
    if (!node) return result;
    check_usage(node.IsMap(), "{}: expected a map of flags to lists", at(node));
    for (const auto& item : node) {
      check_usage(item.second.IsSequence() && item.second.size() > 0, "{}: expected a list of values", at(item.second));
      std::vector<std::string> values;
      for (const auto& value : item.second) values.push_back(scalar(value));
      result.emplace_back(flag_name(item.first), std::move(values));
    }
    return result;
  }

  void add_strategy(Experiment& experiment, const YAML::Node& entry, Flags chosen, Sweep axes) const {
    const bool is_map = entry.IsMap();
    check_usage(is_map || entry.IsScalar(), "{}: expected a strategy's name, or a map with 'name'", at(entry));
    check_usage(!is_map || entry["name"], "{}: the strategy's 'name' is missing", at(entry));
    chosen["strategy"] = is_map ? scalar(entry["name"]) : scalar(entry);
    try {
      find_strategy(chosen["strategy"]);
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}: {}", at(entry), error.what()));
    }
    if (is_map) {
      for (const auto& item : entry) check_key(item.first, {"name", "options", "sweep"});
      for (const auto& [name, value] : flags(entry["options"])) chosen[name] = value;
      for (auto& axis : sweep(entry["sweep"])) axes.push_back(axis);
    }
    cross(experiment, chosen, axes, 0);
  }

  // Every traced point is simulated on each of them: names in configs/clusters/, or files beside the experiment's.
  void add_clusters(Experiment& experiment, const YAML::Node& node) const {
    check_usage(node.IsSequence() && node.size() > 0, "{}: 'clusters' expected a list", at(node));
    std::vector<std::filesystem::path> files;
    for (const auto& one : node) {
      try {
        files.push_back(named_yaml("cluster", "configs/clusters", scalar(one), folder_of(file_)));
      } catch (const Error& error) {
        throw UsageError(fmt::format("{}: {}", at(one), error.what()));
      }
    }
    std::vector<Point> points;
    for (const Point& point : experiment.points) {
      const auto mode = point.flags.find("mode");
      check_usage(mode != point.flags.end() && mode->second != "run", "{}: 'clusters' needs mode: trace (or emulate)",
                  at(node));
      points.push_back(point);
      for (const auto& file : files) {
        points.push_back(point);
        points.back().cluster = file;
      }
    }
    experiment.points = std::move(points);
  }

  void cross(Experiment& experiment, Flags chosen, const Sweep& axes, size_t next) const {
    if (next == axes.size()) {
      check_usage(experiment.points.size() < kMostPoints, "{}: more than {} points: nobody can wait for them", file_,
                  kMostPoints);
      for (int64_t repeat = 0; repeat < experiment.repeat; ++repeat) experiment.points.push_back({chosen, repeat});
      return;
    }
    for (const auto& value : axes[next].second) {
      chosen[axes[next].first] = value;
      cross(experiment, chosen, axes, next + 1);
    }
  }

  // skip: [{when: {strategy: ..., frames: [...]}, reason: ...}]
  void mark_skipped(Experiment& experiment, const YAML::Node& skip) const {
    if (!skip) return;
    check_usage(skip.IsSequence(), "{}: 'skip' expected a list", at(skip));
    for (const auto& rule : skip) {
      check_usage(rule.IsMap() && rule["when"] && rule["when"].IsMap() && rule["reason"],
                  "{}: expected 'when' (a map of flags) and 'reason'", at(rule));
      for (auto& point : experiment.points)
        if (point.skip_reason.empty() && matches(point.flags, rule["when"])) point.skip_reason = scalar(rule["reason"]);
    }
  }

  static bool runs(const Point& point) {
    const auto mode = point.flags.find("mode");
    return (mode == point.flags.end() || mode->second == "run") && point.cluster.empty();
  }

  // An exact strategy is held to `single`, unless the experiment says no (where `single` cannot run, for instance).
  void mark_checked(Experiment& experiment, const YAML::Node& node) const {
    for (auto& point : experiment.points) {
      const std::string& strategy = point.flags.at("strategy");
      point.checked = strategy != "single" && find_strategy(strategy).exact && runs(point) &&
                      (!node || wanted(point, node)) && point.skip_reason.empty();
    }
    if (std::ranges::any_of(experiment.points, &Point::checked))
      for (auto& point : experiment.points)
        point.gives_reference = point.flags.at("strategy") == "single" && runs(point);
  }

  // true, false, or a map of flags with the values for which it is true.
  bool wanted(const Point& point, const YAML::Node& node) const {
    if (!node) return false;
    if (node.IsMap()) return matches(point.flags, node);
    bool value = false;
    check_usage(YAML::convert<bool>::decode(node, value), "{}: expected true, false, or a map of flags", at(node));
    return value;
  }

  // Latents exist in mode run only, and the figures have their place among the other quality metrics.
  void check_can_be_compared(const Point& point, const YAML::Node& node) const {
    const auto value = [&](const char* name) {
      const auto found = point.flags.find(name);
      return found == point.flags.end() ? std::string() : found->second;
    };
    check_usage(value("mode").empty() || value("mode") == "run", "{}: 'reference' needs mode run, {} has mode {}",
                at(node), point.label(), value("mode"));
    check_usage(value("no-quality").empty() || value("no-quality") == "false",
                "{}: 'reference' gives quality metrics, which no-quality leaves out of {}", at(node), point.label());
  }

  bool matches(const Flags& flags, const YAML::Node& when) const {
    for (const auto& item : when) {
      const std::string name = scalar(item.first) == "strategy" ? "strategy" : flag_name(item.first);
      const auto value = flags.find(name);
      std::set<std::string> accepted;
      if (item.second.IsSequence())
        for (const auto& one : item.second) accepted.insert(scalar(one));
      else
        accepted.insert(scalar(item.second));
      if (value == flags.end() || !accepted.contains(value->second)) return false;
    }
    return true;
  }

  std::string file_;
  std::set<std::string> known_flags_;
};

}  // namespace

std::string Point::key() const {
  std::string text = std::to_string(repeat);
  for (const auto& [name, value] : flags) text += "\n" + name + "=" + value;
  if (!cluster.empty()) text += "\ncluster=" + read_file(cluster);
  return text_hash(text);
}

std::string Point::label() const {
  const auto value = [&](const char* name) {
    const auto found = flags.find(name);
    return found == flags.end() ? std::string() : found->second;
  };
  std::string label = value("strategy");
  if (!value("world-size").empty()) label += fmt::format(" x{}", value("world-size"));
  if (!value("nproc").empty()) label += fmt::format(" x{}", value("nproc"));
  if (!value("frames").empty()) label += fmt::format(", {} frames", value("frames"));
  if (!cluster.empty()) label += " on " + cluster.stem().string();
  return label;
}

Experiment read_experiment(const std::filesystem::path& file) {
  try {
    return Reader(file).read();
  } catch (const YAML::Exception& error) {  // a map where a text belongs, for instance
    throw UsageError(fmt::format("{}:{}: {}", file.string(), error.mark.line + 1, error.msg));
  }
}

}  // namespace dualparal
