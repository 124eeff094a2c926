// SPDX-License-Identifier: Apache-2.0
#include "harness/options/endless_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/errors.h"
#include "harness/options/strategies.h"

namespace dualparal {
namespace {

constexpr int64_t kPlannedFrames = 4097;      // of the video
constexpr int64_t kLatestPrompt = 1'000'000;  // frame: a plan reaches behind it

}  // namespace

bool is_endless(const GenerateOptions& o) { return o.video.frames == kEndlessFrames; }

CLI::Validator endless_or_number() {
  return CLI::Validator(
      [](std::string& text) {
        if (text == "endless") text = std::to_string(kEndlessFrames);
        return std::string();
      },
      "");
}

void resolve_endless(GenerateOptions& o, const WanModel& model) {
  if (!is_endless(o)) return;
  std::vector<std::string> able;
  for (const StrategyEntry& entry : strategies())
    if (entry.streams_blocks) able.push_back(entry.name);
  check_usage(find_strategy(o.run.strategy).streams_blocks,
              "--frames endless: {} takes all frames of the video through the schedule together, so it must know how "
              "many there are; those that finish frames one after the other: {}",
              o.run.strategy, fmt::join(able, ", "));
  check_usage(o.run.mode == Mode::kRun, "--frames endless: --mode {} would never end; give a number of frames",
              mode_name(o.run.mode));
  check_usage(o.run.repeats == 1 && o.run.until_interval == 0,
              "--frames endless: a run without an end cannot be repeated");
  check_usage(o.video.prompt_list.empty(),
              "--frames endless: with --prompt-list, no video after the first would begin");
  check_usage(o.video.timed_prompts.empty() || o.video.timed_prompts.back().frame <= kLatestPrompt,
              "--frames endless: --prompts {}: expected frames up to {}, got {}", o.video.prompts, kLatestPrompt,
              o.video.timed_prompts.empty() ? 0 : o.video.timed_prompts.back().frame);
  check_usage(!model.from_image(),
              "--frames endless: {} is told of its image beside every frame of a video of known length", o.model.dir);
  for (const auto& [flag, value] : {std::pair("--initial-noise", o.sampling.initial_noise),
                                    {"--save-noise", o.output.save_noise},
                                    {"--save-latents", o.output.save_latents},
                                    {"--reference-latents", o.output.reference_latents},
                                    {"--timeline", o.output.timeline},
                                    {"--traces", o.output.traces}})
    check_usage(value.empty(), "--frames endless: {} is of a whole video, which never is; leave it out", flag);
  o.output.no_quality = true;
  o.output.overlap_decoding = !o.output.no_decode;
}

int64_t planned_latent_frames(const GenerateOptions& o, const WanModel& model) {
  if (!is_endless(o)) return model.geometry().latent_frames(*o.video.frames);
  const int64_t last = o.video.timed_prompts.empty() ? 0 : o.video.timed_prompts.back().frame;
  // More than the model has positions for: a strategy that counts them from the video's start says so.
  return std::max(model.geometry().latent_frames(last + kPlannedFrames),
                  model.transformer_config().rope_max_seq_len + 1);
}

}  // namespace dualparal
