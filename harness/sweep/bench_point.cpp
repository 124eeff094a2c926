// SPDX-License-Identifier: Apache-2.0
#include "harness/sweep/bench_point.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

#include "base/hash.h"
#include "harness/options/generate_options.h"
#include "harness/record/provenance.h"
#include "harness/record/results.h"
#include "model/wan/wan_model.h"

namespace dualparal {
namespace fs = std::filesystem;

namespace {

constexpr size_t kLongestInName = 40;  // a prompt would make names of files longer than file systems take

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

// By the VAE of the model; 0 if its configuration cannot be read.
int64_t latent_frames_of(const GenerateOptions& options) {
  try {
    return read_vae_config(fs::path(options.model.dir) / "vae" / "config.json")
        .geometry()
        .latent_frames(*options.video.frames);
  } catch (const std::exception&) {
    return 0;
  }
}

}  // namespace

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

fs::path point_file(const char* folder, const Point& point, const std::set<std::string>& varied,
                    const char* extension) {
  std::string name = point.flags.at("strategy");
  for (const auto& [flag, value] : point.flags)
    if (varied.contains(flag)) name += "_" + flag + "-" + (value.size() <= kLongestInName ? value : text_hash(value));
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

nlohmann::ordered_json unfinished_record(const Point& point, const std::string& status, const std::string& error) {
  GenerateOptions options = options_of(point);
  options.run.strategy = point.flags.at("strategy");
  const bool resolved = options.video.frames && options.video.height && options.video.width && options.sampling.steps;
  for (auto* number : {&options.video.frames, &options.video.height, &options.video.width, &options.sampling.steps})
    if (!*number) *number = 0;
  auto record = result_header(options, fs::path(options.model.dir).filename().string(),
                              resolved && *options.video.frames > 0 ? latent_frames_of(options) : 0,
                              options.run.mode == "run" ? options.run.nproc : options.run.world_size);
  if (!resolved)  // the model's own values are not known; zeros would be wrong
    for (const char* name : {"frames", "latent_frames", "height", "width", "steps"})
      if (record[name] == 0) record[name] = nullptr;
  if (!point.cluster.empty()) record["cluster"] = {{"name", point.cluster.stem().string()}};
  record["kind"] = !point.cluster.empty()          ? "simulated"
                   : options.run.mode == "emulate" ? "emulated"
                   : options.run.mode == "trace"   ? "traced"
                                                   : "measured";
  record["status"] = status;
  record["error"] = error;
  record["config"] = point.flags;
  if (options.video.prompt) record["config"]["prompt"] = *options.video.prompt;
  record["provenance"] = provenance(at::kCPU);
  return record;
}

}  // namespace dualparal
