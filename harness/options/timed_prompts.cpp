// SPDX-License-Identifier: Apache-2.0
#include "harness/options/timed_prompts.h"

#include <algorithm>
#include <sstream>

#include "base/errors.h"
#include "base/files.h"
#include "harness/options/strategies.h"

namespace dualparal {
namespace {

constexpr size_t kMostPrompts = 1000;  // each has keys and values of its own in every layer
constexpr size_t kMostDigits = 9;

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r"), end = text.find_last_not_of(" \t\r");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

TimedPrompt parse(const std::string& line, const std::string& place) {
  const size_t colon = line.find(':');
  const std::string frame = trimmed(line.substr(0, colon));
  check_usage(colon != std::string::npos && !frame.empty() && frame.size() <= kMostDigits &&
                  frame.find_first_not_of("0123456789") == std::string::npos,
              "{}: expected 'frame: prompt' with a whole number from 0, got '{}'", place, line);
  const std::string text = trimmed(line.substr(colon + 1));
  check_usage(!text.empty(), "{}: the prompt of frame {} is empty", place, frame);
  return {std::stol(frame), text};
}

std::vector<TimedPrompt> read_prompts(const std::string& file) {
  std::vector<TimedPrompt> prompts;
  std::istringstream lines(read_file(file));
  int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    line = trimmed(line);
    if (line.empty() || line.starts_with('#')) continue;
    const std::string place = fmt::format("--prompts {}:{}", file, number);
    TimedPrompt one = parse(line, place);
    one.line = number;
    check_usage(!prompts.empty() || one.frame == 0, "{}: the first prompt begins with frame 0, got frame {}", place,
                one.frame);
    check_usage(prompts.empty() || one.frame > prompts.back().frame,
                "{}: frame {} does not come after frame {} of line {}", place, one.frame,
                prompts.empty() ? 0 : prompts.back().frame, prompts.empty() ? 0 : prompts.back().line);
    prompts.push_back(std::move(one));
  }
  check_usage(!prompts.empty(), "--prompts {}: no prompt in it, expected 'frame: prompt' lines", file);
  check_usage(prompts.size() <= kMostPrompts, "--prompts {}: expected at most {} prompts, got {}", file, kMostPrompts,
              prompts.size());
  return prompts;
}

}  // namespace

void resolve_timed_prompts(GenerateOptions& o) {
  const std::string& file = o.video.prompts;
  if (file.empty()) return;
  check_usage(!o.video.prompt && o.video.prompt_embeds.empty() && o.video.prompt_list.empty(),
              "--prompts {}: instead of --prompt, --prompt-list or --prompt-embeds", file);
  check_usage(o.output.save_prompt_embeds.empty(), "--prompts {}: --save-prompt-embeds writes those of one prompt",
              file);
  o.video.timed_prompts = read_prompts(file);
  std::vector<std::string> all;
  for (const TimedPrompt& one : o.video.timed_prompts) all.push_back(fmt::format("{}: {}", one.frame, one.text));
  o.video.prompt = fmt::format("{}", fmt::join(all, " | "));
}

void check_timed_prompts(const GenerateOptions& o, const LatentGeometry& geometry) {
  if (o.video.timed_prompts.empty()) return;
  std::vector<std::string> able;
  for (const StrategyEntry& entry : strategies())
    if (entry.prompts != PromptScope::kVideo) able.push_back(entry.name);
  check_usage(find_strategy(o.run.strategy).prompts != PromptScope::kVideo,
              "--prompts {}: strategy '{}' has no blocks, clips or windows: all frames go through the transformer "
              "together, with one prompt; those that have are {}",
              o.video.prompts, o.run.strategy, fmt::join(able, ", "));
  const int64_t frames = *o.video.frames, latent_frames = geometry.latent_frames(frames);
  int64_t before = -1;
  for (const TimedPrompt& one : o.video.timed_prompts) {
    const std::string place = fmt::format("--prompts {}:{}", o.video.prompts, one.line);
    const int64_t first = latent_frame_from(one.frame, geometry);
    check_usage(one.frame < frames && first < latent_frames,
                "{}: the video has {} frames, and no latent frame begins at frame {} or later", place, frames,
                one.frame);
    check_usage(first > before, "{}: frame {} has the same latent frame as the prompt before: {} frames are one", place,
                one.frame, geometry.temporal_stride);
    before = first;
  }
}

int64_t latent_frame_from(int64_t frame, const LatentGeometry& geometry) {
  return frame == 0 ? 0 : geometry.latent_frames(frame);
}

std::vector<ShownPrompt> shown_prompts(const GenerateOptions& o, const std::vector<int64_t>& block_starts,
                                       const LatentGeometry& geometry) {
  std::vector<int64_t> starts{0};
  starts.insert(starts.end(), block_starts.begin(), block_starts.end());
  const auto& prompts = o.video.timed_prompts;
  std::vector<ShownPrompt> shown;
  for (size_t i = 0; i < prompts.size(); ++i) {
    ShownPrompt& one = shown.emplace_back(ShownPrompt{prompts[i].frame, prompts[i].text, prompts[i].line});
    if (find_strategy(o.run.strategy).prompts == PromptScope::kWindow) continue;
    const int64_t from = latent_frame_from(prompts[i].frame, geometry);
    const auto begins = std::ranges::lower_bound(starts, from);
    const bool taken = begins != starts.end() &&
                       (i + 1 == prompts.size() || *begins < latent_frame_from(prompts[i + 1].frame, geometry));
    // The first video frame of a latent one.
    one.frame = !taken ? -1 : *begins == 0 ? 0 : geometry.frames(*begins);
  }
  return shown;
}

}  // namespace dualparal
