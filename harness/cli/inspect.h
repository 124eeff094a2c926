// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

namespace dualparal {

/// `dualparal inspect`: configuration, parameters and bytes of each part, and what each of `nproc` ranks would hold.
/// Reads headers only; without weights in the folder, counts from the configurations.
std::string inspect_checkpoint(const std::filesystem::path& model_dir, int64_t nproc, const std::string& dtype);

}  // namespace dualparal
