// SPDX-License-Identifier: Apache-2.0
#include "harness/sweep/bench_point.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

#include "base/hash.h"
#include "harness/options/resolve_options.h"
#include "harness/options/result_header.h"
#include "harness/record/provenance.h"

namespace dualparal {
namespace fs = std::filesystem;

namespace {

constexpr size_t kLongestInName = 40;  // a prompt would make names of files longer than file systems take

// What the flags say, with the model's defaults as far as they can be had: a wrong flag may be why the point failed.
GenerateOptions options_of(const Point& point) {
  GenerateOptions options = parse_flags(point.flags, WrongFlags::kLeaveOut);
  try {
    resolve_generate_options(options);
  } catch (const std::exception&) {
  }
  return options;
}

// By the VAE of the model; empty if its configuration cannot be read.
std::optional<int64_t> latent_frames_of(const GenerateOptions& options) {
  if (!options.video.frames || *options.video.frames < 1) return std::nullopt;
  try {
    return read_vae_config(fs::path(options.model.dir) / "vae" / "config.json")
        .geometry()
        .latent_frames(*options.video.frames);
  } catch (const std::exception&) {
    return std::nullopt;
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

GenerateOptions parse_flags(const Flags& flags, WrongFlags wrong) {
  GenerateOptions options;
  CLI::App app;
  add_generate_options(app, options);
  const auto parse = [&](const Flags& some) {
    auto arguments = flag_arguments(some);
    std::ranges::reverse(arguments);  // as CLI11 wants them
    app.parse(std::move(arguments));
  };
  if (wrong == WrongFlags::kThrow) {
    parse(flags);
    return options;
  }
  for (const auto& flag : flags) {
    try {
      parse({flag});
    } catch (const CLI::ParseError&) {
    }
  }
  return options;
}

ResultLine unfinished_line(const Point& point, ResultStatus status, const std::string& error) {
  GenerateOptions options = options_of(point);
  options.run.strategy = point.flags.at("strategy");
  ResultLine line = result_header(options, fs::path(options.model.dir).filename().string(), latent_frames_of(options),
                                  options.run.mode == Mode::kRun ? options.run.nproc : options.run.world_size);
  if (!point.cluster.empty()) {
    line.kind = ResultKind::kSimulated;
    line.cluster = {.name = point.cluster.stem().string()};
  }
  line.status = status;
  line.error = error;
  line.config = point.flags;
  if (options.video.prompt) line.config["prompt"] = *options.video.prompt;
  line.program_hash = program_hash();
  line.provenance = provenance(at::kCPU);
  return line;
}

}  // namespace dualparal
