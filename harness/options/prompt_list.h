// SPDX-License-Identifier: Apache-2.0
// `--prompt-list`: several prompts, each a video; a result line for each, or for all of them in a `--scenario`.
#pragma once

#include <vector>

#include "harness/options/generate_options.h"

namespace dualparal {

/// Reads the file, if one is named: a prompt a line; empty lines and those that begin with # are left out. The first
/// becomes the prompt until runs_of() says otherwise. UsageError for an empty or too long list, and for flags that do
/// not go with one. Before other options are resolved.
void resolve_prompt_list(GenerateOptions& options);

/// The runs that resolved options ask for: one, or one for every prompt of the list unless they are in a scenario. The
/// first has the whole list.
std::vector<GenerateOptions> runs_of(const GenerateOptions& options);

/// The same for every video, with its prompt and with its number in the names of its files (out.mp4: out-1.mp4,
/// out-2.mp4, ...). In a scenario, traces and timeline are of all videos, and have no number. The first has the whole
/// list.
std::vector<GenerateOptions> videos_of(const GenerateOptions& options);

/// Whether all videos of a list are one run.
bool in_scenario(const GenerateOptions& options);
/// Videos of one run: those of a list in a scenario, else 1.
int64_t videos_in_run(const GenerateOptions& options);

}  // namespace dualparal
