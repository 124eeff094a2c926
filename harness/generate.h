// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>

#include "harness/generate_options.h"

namespace dualparal {

/// Generates one video on this process and returns its result line. Throws on failure.
nlohmann::ordered_json generate(GenerateOptions options);

/// `dualparal generate`: generates, appends the result line where asked, prints a summary.
void run_generate(const GenerateOptions& options);

}  // namespace dualparal
