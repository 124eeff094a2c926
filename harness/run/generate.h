// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.h"
#include "harness/options/generate_options.h"

namespace dualparal {

/// `dualparal generate`: generates a video, as one rank or by starting `--nproc` of them; appends the result line where
/// asked, prints a summary. arguments: those of the program, for the ranks. Throws on failure.
void run_generate(const GenerateOptions& options, const std::vector<std::string>& arguments);

}  // namespace dualparal
