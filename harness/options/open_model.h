// SPDX-License-Identifier: Apache-2.0
// From the options to the model that they name.
#pragma once

#include "harness/options/generate_options.h"
#include "model/wan/wan_model.h"

namespace dualparal {

WanModel open_model(const ModelOptions& options);

/// UsageError unless the images that are given are those that the model takes.
void check_image_options(const GenerateOptions& options, const WanModel& model);

/// --lora, for the result line: an object with file, scale and expert for each.
nlohmann::ordered_json loras_json(const ModelOptions& model);

}  // namespace dualparal
