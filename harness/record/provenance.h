// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ATen.h>

#include "base/json.h"

namespace dualparal {

/// Where a result comes from: code (commit, dirty flag), machine, device, library versions, threads, date (UTC).
nlohmann::ordered_json provenance(const at::Device& device);

}  // namespace dualparal
