// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace dualparal {

struct VbenchExport {
  int64_t videos = 0;
  int64_t without_video = 0;  ///< lines that have none, or no prompt
};

/// Copies the videos of result lines for the `vbench` package's custom input: folder/videos/<point>-<n>.mp4 (n: 0, 1,
/// ... where several lines have the same point), folder/prompts.json (file name -> prompt) for its --prompt_file, and
/// folder/index.json (file name -> results, point, repeat) to find the lines again.
/// Error if no line has a video, if one is missing, or if videos of something else are in the folder.
VbenchExport export_vbench(const std::vector<std::filesystem::path>& results, const std::filesystem::path& folder);

}  // namespace dualparal
