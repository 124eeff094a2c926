// SPDX-License-Identifier: Apache-2.0
#include "model/wan/geometry.h"

#include "base/errors.h"

namespace dualparal {

int64_t LatentGeometry::latent_frames(int64_t frames) const {
  check_usage(frames > 0, "--frames: expected a positive number, got {}", frames);
  return (frames - 1 + temporal_stride - 1) / temporal_stride + 1;
}

}  // namespace dualparal
