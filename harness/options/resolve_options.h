// SPDX-License-Identifier: Apache-2.0
// From flags to what a run needs: the model that they name is opened, once, and says what they left open.
#pragma once

#include "harness/options/generate_options.h"
#include "model/wan/wan_model.h"

namespace dualparal {

/// Opens the model (configurations alone) and fills in what was left open from it and its generation_defaults.json.
/// UsageError for values that cannot be.
WanModel resolve_generate_options(GenerateOptions& options);

/// Whether the video is made from an image: always, or because one is given.
bool shows_image(const GenerateOptions& options, const WanModel& model);

/// UsageError for images that the model cannot take, or does not get.
void check_image_options(const GenerateOptions& options, const WanModel& model);

}  // namespace dualparal
