// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "harness/options/generate_options.h"

namespace dualparal {

/// UsageError for outputs that a run with these options cannot have. A run that would leave nothing behind gets a
/// default name in the working folder for its video: STRATEGY_FRAMES-frames_seed-SEED.mp4. The rest is resolved
/// already.
void resolve_output(GenerateOptions& options);

}  // namespace dualparal
