// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ATen.h>

#include "runtime/json.h"

namespace dualparal {

/// Where a result comes from: code (commit, dirty flag), machine, device, library versions, threads, date (UTC).
nlohmann::ordered_json provenance(const at::Device& device);

/// 16 hexadecimal digits that are the same for the same text.
std::string text_hash(const std::string& text);

/// Folder with configs/ and models/: the sources' or, in a bundle, the program's own.
std::filesystem::path data_dir();

}  // namespace dualparal
