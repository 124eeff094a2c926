// SPDX-License-Identifier: Apache-2.0
// `--prompts`: several prompts in one video, each from a frame on.
#pragma once

#include <string>
#include <vector>

#include "harness/options/generate_options.h"
#include "model/wan/geometry.h"

namespace dualparal {

/// Reads the file, if one is named: `frame: prompt` lines, ascending, the first of frame 0; empty lines and those that
/// begin with # are left out. All of them together become the prompt that results carry. UsageError, with file and
/// line, for what is none, and for flags that do not go with one. Before other options are resolved.
void resolve_timed_prompts(GenerateOptions& options);

/// UsageError if the strategy has one prompt for the whole video, or a prompt begins where none can: at or past the
/// video's end, or with the latent frame of another. Of resolved options.
void check_timed_prompts(const GenerateOptions& options, const LatentGeometry& geometry);

/// The first latent frame whose own frames begin at `frame` of the video or later.
int64_t latent_frame_from(int64_t frame, const LatentGeometry& geometry);

/// Where prompts are shown.
struct ShownPrompt {
  int64_t frame = 0;  ///< of the video, with which the first block begins that takes it; -1: none does
  std::string text;
  int64_t line = 0;  ///< of the file
};
/// All prompts of resolved options, in order. block_starts: StrategyPlan's. A strategy that gives prompts to whatever
/// goes through the transformer shows each from its own frame on.
std::vector<ShownPrompt> shown_prompts(const GenerateOptions& options, const std::vector<int64_t>& block_starts,
                                       const LatentGeometry& geometry);

}  // namespace dualparal
