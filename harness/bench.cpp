// SPDX-License-Identifier: Apache-2.0
#include "harness/bench.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <set>

#include "harness/bench_reference.h"
#include "harness/child_process.h"
#include "harness/experiment.h"
#include "harness/folder_lock.h"
#include "harness/generate_options.h"
#include "harness/progress.h"
#include "harness/provenance.h"
#include "harness/report.h"
#include "harness/results.h"
#include "model/wan_model.h"
#include "runtime/errors.h"
#include "runtime/files.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

// Flags that differ between the points of an experiment: what a file's name must tell.
std::set<std::string> varied_flags(const Experiment& experiment) {
  std::map<std::string, std::set<std::string>> values;
  for (const auto& point : experiment.points)
    for (const auto& [flag, value] : point.flags) values[flag].insert(value);
  for (auto& [flag, seen] : values)  // given to some points and left to its default in others
    for (const auto& point : experiment.points)
      if (!point.flags.contains(flag)) seen.insert("");
  std::set<std::string> varied;
  for (const auto& [flag, seen] : values)
    if (seen.size() > 1 && flag != "strategy") varied.insert(flag);
  return varied;
}

// A point's file, relative to the results' folder.
fs::path point_file(const char* folder, const Point& point, const std::set<std::string>& varied, const char* extension) {
  std::string name = point.flags.at("strategy");
  for (const auto& [flag, value] : point.flags)
    if (varied.contains(flag)) name += "_" + flag + "-" + value;
  for (char& c : name)
    if (c == '/' || c == ' ') c = '-';
  return fs::path(folder) / (name + extension);
}

std::vector<std::string> flag_arguments(const Flags& flags) {
  std::vector<std::string> arguments;
  for (const auto& [name, value] : flags) {
    if (value == "false") continue;
    arguments.push_back("--" + name);
    if (value != "true") arguments.push_back(value);
  }
  return arguments;
}

std::vector<std::string> arguments_of(const Point& point, const fs::path& result, const fs::path& video,
                                      const fs::path& timeline) {
  std::vector<std::string> arguments = flag_arguments(point.flags);
  arguments.insert(arguments.begin(), "generate");
  arguments.insert(arguments.end(), {"--result", result.string()});
  if (!video.empty()) arguments.insert(arguments.end(), {"--output", video.string()});
  if (!timeline.empty()) arguments.insert(arguments.end(), {"--timeline", timeline.string()});
  return arguments;
}

// What the flags say, with the model's defaults as far as they can be had: a wrong flag may be why the point failed.
GenerateOptions options_of(const Point& point) {
  GenerateOptions options;
  CLI::App app;
  add_generate_options(app, options);
  for (const auto& flag : point.flags) {
    auto arguments = flag_arguments({flag});
    std::ranges::reverse(arguments);  // as CLI11 wants them
    try {
      app.parse(std::move(arguments));
    } catch (const CLI::ParseError&) {
    }
  }
  try {
    resolve_generate_options(options);
  } catch (const std::exception&) {
  }
  return options;
}

// A point that did not run to its end is a result, too: its line begins as that of any other, as far as it is known.
nlohmann::ordered_json unfinished_record(const Point& point, const std::string& status, const std::string& error) {
  GenerateOptions options = options_of(point);
  options.strategy = point.flags.at("strategy");
  const bool resolved = options.frames && options.height && options.width && options.steps;
  for (auto* number : {&options.frames, &options.height, &options.width, &options.steps})
    if (!*number) *number = 0;
  auto record = result_header(options, fs::path(options.model).filename().string(),
                              resolved && *options.frames > 0 ? latent_frames_for(*options.frames) : 0, options.nproc);
  if (!resolved)  // the model's own values are not known; zeros would be wrong
    for (const char* name : {"frames", "latent_frames", "height", "width", "steps"})
      if (record[name] == 0) record[name] = nullptr;
  record["kind"] = options.mode == "emulate" ? "emulated" : options.mode == "trace" ? "traced" : "measured";
  record["status"] = status;
  record["error"] = error;
  record["config"] = point.flags;
  if (options.prompt) record["config"]["prompt"] = *options.prompt;
  record["provenance"] = provenance(at::kCPU);
  return record;
}

}  // namespace

int64_t run_bench(const BenchOptions& options) {
  const Experiment experiment = read_experiment(options.experiment);
  const fs::path folder = options.output.empty() ? fs::path("results") / experiment.name : options.output;
  const fs::path lines = folder / "results.jsonl";
  fs::create_directories(folder);
  // What a killed run has started may take a moment to end.
  const FolderLock lock(folder, std::chrono::seconds(10));
  remove_abandoned_files(folder);
  drop_unfinished_line(lines);

  std::map<std::string, std::string> done;  // key -> status
  if (fs::exists(lines))
    for (const auto& record : read_results(lines))
      if (record.contains("point")) done[record["point"]] = record["status"];
  std::vector<Point> missing;
  for (const auto& point : experiment.points) {
    const auto found = done.find(point.key());
    if (found == done.end() || (options.retry_failed && found->second == "failed")) missing.push_back(point);
  }
  if (!options.quiet)
    fmt::print(stderr, "# {}: {} points, {} to do; results in {}\n", experiment.title, experiment.points.size(),
               missing.size(), folder.string());

  const auto varied = varied_flags(experiment);
  References references(folder, options.quiet);
  int64_t failed = 0;
  const Stopwatch watch;
  for (size_t i = 0; i < missing.size(); ++i) {
    const Point& point = missing[i];
    const double left = i == 0 ? 0 : watch.seconds() / static_cast<double>(i) * static_cast<double>(missing.size() - i);
    if (!options.quiet)
      fmt::print(stderr, "# {}/{} {}{}{}\n", i + 1, missing.size(), point.label(),
                 point.repeat > 0 ? fmt::format(" (repeat {})", point.repeat) : "",
                 i == 0 ? "" : fmt::format(", about {} left", duration_text(left)));
    nlohmann::ordered_json record;
    if (!point.skip_reason.empty()) {
      record = unfinished_record(point, "skipped", point.skip_reason);
    } else {
      const fs::path single_line = folder / ".point.jsonl";
      fs::remove(single_line);
      const fs::path video = point.video ? point_file("videos", point, varied, ".mp4") : fs::path();
      const fs::path timeline = point.timeline ? point_file("timelines", point, varied, ".json") : fs::path();
      const auto inside = [&](const fs::path& file) { return file.empty() ? file : folder / file; };
      auto arguments = arguments_of(point, single_line, inside(video), inside(timeline));
      if (point.reference)
        for (auto& argument : references.arguments()) arguments.push_back(std::move(argument));
      const auto child = run_self(arguments, options.quiet);
      if (child.exit_code == 0) {
        record = read_results(single_line).at(0);
        if (!video.empty()) record["video"] = video.string();
        if (!timeline.empty()) record["timeline"] = timeline.string();
        if (point.reference) references.fill(record, point);
      } else {
        record = unfinished_record(point, "failed", child.error);
        ++failed;
      }
      fs::remove(single_line);
    }
    record["experiment"] = experiment.name;
    record["point"] = point.key();
    record["repeat"] = point.repeat;
    append_line(lines, record.dump());
  }
  references.remove();
  write_report({.results = {lines}, .title = experiment.title}, folder);
  if (!options.quiet) fmt::print(stderr, "# wrote {} and report.md beside it\n", lines.string());
  return failed;
}

}  // namespace dualparal
