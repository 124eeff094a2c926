// SPDX-License-Identifier: Apache-2.0
#include "harness/run/notices.h"

#include <fmt/format.h>

#include <filesystem>

#include "harness/media/video_file.h"
#include "harness/options/prompt_list.h"
#include "harness/options/timed_prompts.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

// The official programs' flow shift, where the published checkpoint's scheduler says another (docs/models.md); 0: the
// same.
double official_flow_shift(const WanModel& model) {
  if (model.takes_first_frame()) return 5;
  if (model.experts() < 2) return 0;
  return model.from_image() ? 5 : 12;
}

}  // namespace

std::vector<std::string> notices(const GenerateOptions& given, const GenerateOptions& resolved, const WanModel& model) {
  std::vector<std::string> texts;
  const OutputOptions& out = resolved.output;
  if (given.video.prompt && given.video.prompt->empty())
    texts.push_back("--prompt is empty: the video shows whatever the model makes of nothing");
  else if (!given.video.prompt && given.video.prompt_list.empty() && given.video.prompts.empty() &&
           resolved.video.prompt)
    texts.push_back(fmt::format("no --prompt: the model's own, \"{}\"", *resolved.video.prompt));
  if (given.output.video.empty() && !out.video.empty())
    texts.push_back(fmt::format("no output was asked for: the video goes to {} (--no-decode: none)", out.video));
  for (const auto& file :
       {out.video, out.save_latents, out.save_noise, out.save_prompt_embeds, out.save_image_embeds, out.timeline})
    if (!file.empty() && fs::exists(file))
      texts.push_back(fmt::format("{} is there already and will be overwritten", file));
  std::error_code ignored;
  if (!out.save_frames.empty() && fs::is_directory(out.save_frames, ignored) && !fs::is_empty(out.save_frames, ignored))
    texts.push_back(
        fmt::format("{} is not empty: frames of the same numbers will be overwritten, others stay", out.save_frames));
  // What the checkpoint says is used; that it may not be what is wanted is said.
  const double official = official_flow_shift(model), used = *resolved.sampling.flow_shift;
  if (!given.sampling.flow_shift && official != 0 && official != used)
    texts.push_back(
        fmt::format("note: flow shift {} is the checkpoint's; the official program has {} (--flow-shift {})", used,
                    official, official));
  return texts;
}

std::vector<std::string> prompt_notices(const GenerateOptions& resolved, const StrategyPlan& plan,
                                        const LatentGeometry& geometry) {
  std::vector<std::string> texts;
  for (const ShownPrompt& one : shown_prompts(resolved, plan.block_starts, geometry))
    if (one.frame < 0)
      texts.push_back(
          fmt::format("note: {}:{}: no block, clip or window begins before the next prompt does: this one is "
                      "not shown",
                      resolved.video.prompts, one.line));
  return texts;
}

namespace {

std::string kept_latents(const GenerateOptions& resolved) {
  if (in_scenario(resolved))
    return resolved.output.save_latents.empty()
               ? "nothing of these videos is kept; --save-latents keeps the latents of each that is finished"
               : "latents of the videos that were finished are kept, and no result line";
  if (!resolved.video.listed_prompts.empty())
    return "videos and result lines of the prompts that are done are kept, nothing of the one that was under way";
  if (resolved.snapshots.active())
    return fmt::format("what was kept in {} stays there; --resume {} goes on from it", resolved.snapshots.folder,
                       resolved.snapshots.folder);
  if (resolved.output.save_latents.empty()) return "nothing of this run is kept; run it again from its start";
  return fmt::format(
      "latents that were final lie in {}.partial/, nothing else is kept; a run without --snapshot cannot be continued",
      resolved.output.save_latents);
}

}  // namespace

std::string what_is_kept(const GenerateOptions& resolved) {
  std::error_code none;
  const fs::path video = growing_path(resolved.output.video);
  const bool begun = !resolved.output.video.empty() && fs::file_size(video, none) > 0 && !none;
  return kept_latents(resolved) + (begun ? fmt::format("; the video's first frames are in {}", video.string()) : "");
}

}  // namespace dualparal
