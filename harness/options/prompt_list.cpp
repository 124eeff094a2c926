// SPDX-License-Identifier: Apache-2.0
#include "harness/options/prompt_list.h"

#include <filesystem>
#include <sstream>

#include "base/data_dir.h"
#include "base/errors.h"
#include "base/files.h"
#include "harness/options/replicas.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMostPrompts = 10'000;

std::string numbered(const std::string& file, size_t number, size_t digits) {
  if (file.empty()) return file;
  const fs::path path = file;
  const std::string name = fmt::format("{}-{:0{}}{}", path.stem().string(), number, digits, path.extension().string());
  return (path.parent_path() / name).string();
}

void check_scenario(const GenerateOptions& o) {
  const std::string& scenario = o.run.scenario;
  if (scenario.empty()) return;
  check_usage(scenario == kSingleStream || scenario == kOffline, "--scenario: expected {} or {}, got '{}'",
              kSingleStream, kOffline, scenario);
  check_usage(!o.video.prompt_list.empty(), "--scenario {}: needs the prompts that it is of, as --prompt-list",
              scenario);
  check_usage(!o.run.short_traces, "--scenario {}: --short-traces are of one video", scenario);
  check_usage(!o.output.overlap_decoding,
              "--scenario {}: the videos are decoded when all are denoised, without --overlap-decoding", scenario);
  for (const auto& [flag, file] :
       {std::pair("--save-noise", o.output.save_noise), {"--save-prompt-embeds", o.output.save_prompt_embeds}})
    check_usage(file.empty(), "--scenario {}: {} is of one video; leave --scenario out", scenario, flag);
}

}  // namespace

bool in_scenario(const GenerateOptions& options) { return !options.run.scenario.empty(); }

int64_t videos_in_run(const GenerateOptions& options) {
  return in_scenario(options) ? static_cast<int64_t>(options.video.listed_prompts.size()) : 1;
}

void resolve_prompt_list(GenerateOptions& o) {
  check_scenario(o);
  check_replicas(o);
  const std::string file = project_path(o.video.prompt_list).string();
  if (file.empty()) return;
  check_usage(!o.video.prompt && o.video.prompt_embeds.empty(),
              "--prompt-list {}: instead of --prompt or --prompt-embeds", file);
  check_usage(o.run.mode == Mode::kRun || in_scenario(o),
              "--prompt-list {}: --mode {} makes no videos; with --scenario it says how long they would take", file,
              mode_name(o.run.mode));
  check_usage(o.output.reference_latents.empty(), "--prompt-list {}: --reference-latents are of one video", file);
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.find_first_not_of(" \t") != std::string::npos && !line.starts_with('#'))
      o.video.listed_prompts.push_back(line);
  }
  check_usage(!o.video.listed_prompts.empty(), "--prompt-list {}: no prompt in it, expected one a line", file);
  check_usage(o.video.listed_prompts.size() <= kMostPrompts, "--prompt-list {}: expected at most {} prompts, got {}",
              file, kMostPrompts, o.video.listed_prompts.size());
  o.video.prompt = o.video.listed_prompts.front();
}

std::vector<GenerateOptions> runs_of(const GenerateOptions& options) {
  return in_scenario(options) ? std::vector{options} : videos_of(options);
}

std::vector<GenerateOptions> videos_of(const GenerateOptions& options) {
  const auto& prompts = options.video.listed_prompts;
  if (prompts.empty()) return {options};
  const size_t digits = std::to_string(prompts.size()).size();
  GenerateOptions bare = options;
  bare.video.listed_prompts.clear();
  std::vector<GenerateOptions> runs;
  for (size_t number = 1; number <= prompts.size(); ++number) {
    GenerateOptions& run = runs.emplace_back(bare);
    run.video.prompt = prompts[number - 1];
    OutputOptions& out = run.output;
    for (std::string* file : {&out.video, &out.save_frames, &out.save_latents, &out.save_noise, &out.save_prompt_embeds,
                              &out.save_image_embeds})
      *file = numbered(*file, number, digits);
    if (in_scenario(options)) continue;
    for (std::string* file : {&out.timeline, &out.traces}) *file = numbered(*file, number, digits);
  }
  runs.front().video.listed_prompts = prompts;
  return runs;
}

}  // namespace dualparal
