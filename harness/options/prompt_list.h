// SPDX-License-Identifier: Apache-2.0
// `--prompt-list`: several prompts one after the other, each a video and a result line of its own.
#pragma once

#include <vector>

#include "harness/options/generate_options.h"

namespace dualparal {

/// Reads the file, if one is named: a prompt a line; empty lines and those that begin with # are left out. The first
/// becomes the prompt until runs_of() says otherwise. UsageError for an empty or too long list, and for flags that do
/// not go with one. Before other options are resolved.
void resolve_prompt_list(GenerateOptions& options);

/// The runs that resolved options ask for: one, or one for every prompt of the list, with the prompt's number in the
/// names of its files (out.mp4: out-1.mp4, out-2.mp4, ...). The first still has the whole list.
std::vector<GenerateOptions> runs_of(const GenerateOptions& options);

}  // namespace dualparal
