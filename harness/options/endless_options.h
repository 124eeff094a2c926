// SPDX-License-Identifier: Apache-2.0
// `--frames endless`: a video that goes on until it is told to stop.
#pragma once

#include "harness/options/generate_options.h"
#include "model/wan/wan_model.h"

namespace dualparal {

/// What VideoOptions::frames is then: more than any run lives to see.
constexpr int64_t kEndlessFrames = int64_t{1} << 40;
bool is_endless(const GenerateOptions& options);

/// For --frames: "endless" becomes that number.
CLI::Validator endless_or_number();

/// UsageError, with the reason, for a strategy that must know the video's length, and for flags that mean a whole video
/// or keep something for each frame. Sets what follows: decoding beside denoising, no quality metrics. Of resolved
/// options, but for outputs.
void resolve_endless(GenerateOptions& options, const WanModel& model);

/// Latent frames of which a plan is made: all of a video with an end, else so many that each kind of work is among
/// them, and the last prompt.
int64_t planned_latent_frames(const GenerateOptions& options, const WanModel& model);

}  // namespace dualparal
