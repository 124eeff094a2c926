// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/json.h"
#include "harness/options/generate_options.h"

namespace dualparal {

/// `--mode emulate` and `--mode trace`: all ranks of a run of `--world-size`, one after the other in this process.
/// Emulated ranks compute and hold what a real rank would, on one device; traced ones do it with shapes alone, without
/// weights or arithmetic. Messages go nowhere, so the latents have no meaning and are thrown away. Returns the result
/// line.
nlohmann::ordered_json emulate(const GenerateOptions& options);

}  // namespace dualparal
