// SPDX-License-Identifier: Apache-2.0
// What `--mode trace` leaves out because it is like something else.
#pragma once

#include <string>

#include "harness/options/generate_options.h"

namespace dualparal {

/// Declares the flags.
void add_trace_flags(CLI::App& app, const std::string& group, RunOptions& options);

/// UsageError for what cannot be; the strategy's options are resolved.
void check_trace_options(const RunOptions& options);

/// Ranks of a stage that are traced as one (--stages-as-one); 1: each is traced.
int64_t ranks_as_one(const RunOptions& options);

}  // namespace dualparal
