// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace dualparal {

/// What this program asks FFmpeg for.
struct CodecUse {
  std::string name;  ///< "libx264 encoder"
  std::string use;   ///< what cannot be done without it
  bool there = false;
};

std::vector<CodecUse> codec_uses();

/// FFmpeg's own version, as it says it.
std::string ffmpeg_version();

}  // namespace dualparal
