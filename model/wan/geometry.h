// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace dualparal {

/// How the frames and pixels of a video lie in latents: from the VAE's configuration (VaeConfig::geometry).
struct LatentGeometry {
  int64_t channels = 0;         ///< of the latents
  int64_t temporal_stride = 0;  ///< frames per latent frame, the first one apart
  int64_t spatial_stride = 0;   ///< pixels per latent position along height and width

  /// Latent frames that hold `frames` video frames; what they decode to beyond those is cut. UsageError below 1.
  int64_t latent_frames(int64_t frames) const;
  /// Video frames that so many latent frames decode to.
  int64_t frames(int64_t latent_frames) const { return temporal_stride * (latent_frames - 1) + 1; }
};

}  // namespace dualparal
