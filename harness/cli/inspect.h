// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

namespace dualparal {

struct InspectOptions {
  int64_t nproc = 1;
  std::string dtype = "bf16";
  std::string partition = "layers";   ///< as --partition of `generate`
  int64_t height = 480, width = 832;  ///< pixels of the video whose work is split
  int64_t block_frames = 8, context_frames = 4;
  std::string device = "cuda";  ///< what the work is counted for
};

/// `dualparal inspect`: configuration, parameters and bytes of each part, and what each of `nproc` ranks would hold and
/// how much of a block's work it would have. Reads headers only; without weights in the folder, counts from the
/// configurations.
std::string inspect_checkpoint(const std::filesystem::path& model_dir, const InspectOptions& options);

}  // namespace dualparal
