// SPDX-License-Identifier: Apache-2.0
#include "harness/sweep/experiment.h"

#include <algorithm>
#include <set>

#include "base/data_dir.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/yaml_file.h"
#include "harness/options/strategies.h"
#include "harness/sweep/experiment_yaml.h"

namespace dualparal {
namespace {

constexpr size_t kMostPoints = 100'000;

std::filesystem::path folder_of(const std::filesystem::path& file) {
  return file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
}

class Reader {
 public:
  explicit Reader(const std::filesystem::path& file) : yaml_(file) {}

  Experiment read() const {
    try {
      return read(load_yaml(yaml_.file()));
    } catch (const YAML::Exception& error) {  // a key that is a list, for instance
      throw UsageError(fmt::format("{}:{}: {}", yaml_.file(), error.mark.line + 1, error.msg));
    }
  }

 private:
  Experiment read(const YAML::Node& root) const {
    check_usage(root.IsMap(), "{}: expected a map with name, strategies, sweep, ...", yaml_.file());
    static const std::set<std::string> keys = {
        "name",   "title",      "model",     "mode",      "device",          "dtype", "repeat",
        "warmup", "videos",     "timelines", "reference", "error_vs_single", "bands", "base",
        "sweep",  "strategies", "skip",      "clusters",  "report"};
    for (const auto& item : root) yaml_.check_key(item.first, keys);

    Experiment experiment;
    check_usage(root["name"] && root["name"].IsScalar(), "{}: 'name' is missing", yaml_.file());
    experiment.name = root["name"].as<std::string>();
    check_usage(!experiment.name.empty() && experiment.name.find('/') == std::string::npos,
                "{}: 'name' must be a file name", yaml_.at(root["name"]));
    experiment.title = root["title"] ? root["title"].as<std::string>() : experiment.name;
    experiment.repeat = root["repeat"] ? yaml_.number(root["repeat"], 1) : 1;
    experiment.baselines = baselines(root["report"]);
    Flags base = yaml_.flags(root["base"]);
    for (const char* key : {"model", "mode", "device", "dtype"})
      if (root[key]) base[key] = yaml_.scalar(root[key]);
    if (root["warmup"]) base["warmup-steps"] = std::to_string(yaml_.number(root["warmup"], 0));
    // The first step of a process pages in weights and starts threads. On a GPU, generate warms up by itself.
    const bool runs_on_cpu =
        (!base.contains("mode") || base["mode"] == "run") && (!base.contains("device") || base["device"] == "cpu");
    if (runs_on_cpu && !base.contains("warmup-steps")) base["warmup-steps"] = "1";
    const Sweep common = yaml_.sweep(root["sweep"]);
    check_usage(root["strategies"] && root["strategies"].IsSequence() && root["strategies"].size() > 0,
                "{}: 'strategies' expected a list of names, or of maps with 'name'", yaml_.file());
    for (const auto& entry : root["strategies"]) add_strategy(experiment, entry, base, common);
    if (root["clusters"]) add_clusters(experiment, root["clusters"]);
    mark_skipped(experiment, root["skip"]);
    mark_checked(experiment, root["error_vs_single"]);
    for (auto& point : experiment.points) {
      if (point.repeat > 0) continue;
      // Emulated and traced points have neither; their simulations have a clock.
      point.video = yaml_.wanted(point, root["videos"]) && runs(point);
      point.timeline = yaml_.wanted(point, root["timelines"]) && (runs(point) || !point.cluster.empty());
      point.reference = yaml_.wanted(point, root["reference"]);
      point.bands = yaml_.wanted(point, root["bands"]) && !point.cluster.empty();
      check_usage(!of_list(point) || !(point.video || point.reference),
                  "{}: 'videos' and 'reference' are of points with one video, {} has a prompt-list", yaml_.file(),
                  point.label());
      if (point.reference) check_can_be_compared(point, root["reference"]);
    }
    return experiment;
  }

  // report: {baseline: STRATEGY, baseline_variant: STRATEGY or a list, baseline_frames: N}
  Baselines baselines(const YAML::Node& node) const {
    Baselines found;
    if (!node) return found;
    check_usage(node.IsMap(), "{}: 'report' expected a map of baselines", yaml_.at(node));
    for (const auto& item : node) yaml_.check_key(item.first, {"baseline", "baseline_variant", "baseline_frames"});
    if (node["baseline"]) found.strategy = strategy_name(node["baseline"]);
    const YAML::Node variants = node["baseline_variant"];
    if (variants && variants.IsSequence())
      for (const auto& one : variants) found.variants_of.push_back(strategy_name(one));
    else if (variants)
      found.variants_of = {strategy_name(variants)};
    if (node["baseline_frames"]) found.frames = yaml_.number(node["baseline_frames"], 1);
    return found;
  }

  std::string strategy_name(const YAML::Node& node) const {
    const std::string name = yaml_.scalar(node);
    try {
      find_strategy(name);
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}: {}", yaml_.at(node), error.what()));
    }
    return name;
  }

  void add_strategy(Experiment& experiment, const YAML::Node& entry, Flags chosen, Sweep axes) const {
    const bool is_map = entry.IsMap();
    check_usage(is_map || entry.IsScalar(), "{}: expected a strategy's name, or a map with 'name'", yaml_.at(entry));
    check_usage(!is_map || entry["name"], "{}: the strategy's 'name' is missing", yaml_.at(entry));
    chosen["strategy"] = strategy_name(is_map ? entry["name"] : entry);
    if (is_map) {
      for (const auto& item : entry) yaml_.check_key(item.first, {"name", "options", "sweep"});
      for (const auto& [name, value] : yaml_.flags(entry["options"])) chosen[name] = value;
      for (auto& axis : yaml_.sweep(entry["sweep"])) axes.push_back(axis);
    }
    cross(experiment, chosen, axes, 0);
  }

  // Every traced point is simulated on each of them: names in configs/clusters/, or files beside the experiment's.
  void add_clusters(Experiment& experiment, const YAML::Node& node) const {
    check_usage(node.IsSequence() && node.size() > 0, "{}: 'clusters' expected a list", yaml_.at(node));
    std::vector<std::filesystem::path> files;
    for (const auto& one : node) {
      try {
        files.push_back(named_yaml("cluster", "configs/clusters", yaml_.scalar(one), folder_of(yaml_.file())));
      } catch (const Error& error) {
        throw UsageError(fmt::format("{}: {}", yaml_.at(one), error.what()));
      }
    }
    std::vector<Point> points;
    for (const Point& point : experiment.points) {
      const auto mode = point.flags.find("mode");
      check_usage(mode != point.flags.end() && mode->second != "run", "{}: 'clusters' needs mode: trace (or emulate)",
                  yaml_.at(node));
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
      check_usage(experiment.points.size() < kMostPoints, "{}: more than {} points: nobody can wait for them",
                  yaml_.file(), kMostPoints);
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
    check_usage(skip.IsSequence(), "{}: 'skip' expected a list", yaml_.at(skip));
    for (const auto& rule : skip) {
      check_usage(rule.IsMap() && rule["when"] && rule["when"].IsMap() && rule["reason"],
                  "{}: expected 'when' (a map of flags) and 'reason'", yaml_.at(rule));
      for (auto& point : experiment.points)
        if (point.skip_reason.empty() && yaml_.matches(point.flags, rule["when"]))
          point.skip_reason = yaml_.scalar(rule["reason"]);
    }
  }

  static bool runs(const Point& point) {
    const auto mode = point.flags.find("mode");
    return (mode == point.flags.end() || mode->second == "run") && point.cluster.empty();
  }

  // All prompts of a list are one point.
  static bool of_list(const Point& point) { return point.flags.contains("prompt-list"); }

  // An exact strategy is held to `single`, unless the experiment says no (where `single` cannot run, for instance).
  void mark_checked(Experiment& experiment, const YAML::Node& node) const {
    for (auto& point : experiment.points) {
      const std::string& strategy = point.flags.at("strategy");
      point.checked = strategy != "single" && find_strategy(strategy).exact && runs(point) && !of_list(point) &&
                      (!node || yaml_.wanted(point, node)) && point.skip_reason.empty();
    }
    if (std::ranges::any_of(experiment.points, &Point::checked))
      for (auto& point : experiment.points)
        point.gives_reference = point.flags.at("strategy") == "single" && runs(point) && !of_list(point);
  }

  // Latents exist in mode run only, and the figures have their place among the other quality metrics.
  void check_can_be_compared(const Point& point, const YAML::Node& node) const {
    const auto value = [&](const char* name) {
      const auto found = point.flags.find(name);
      return found == point.flags.end() ? std::string() : found->second;
    };
    check_usage(value("mode").empty() || value("mode") == "run", "{}: 'reference' needs mode run, {} has mode {}",
                yaml_.at(node), point.label(), value("mode"));
    check_usage(value("prompts").empty(),
                "{}: 'reference' compares with what single makes, which takes one prompt; {} has prompts",
                yaml_.at(node), point.label());
    check_usage(value("no-quality").empty() || value("no-quality") == "false",
                "{}: 'reference' gives quality metrics, which no-quality leaves out of {}", yaml_.at(node),
                point.label());
  }

  ExperimentYaml yaml_;
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
