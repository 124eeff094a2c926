// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ATen.h>

#include "strategy/denoise/request.h"

namespace dualparal {

/// Initial noise of latent frames [begin, end): [1, channels, end - begin, h, w] fp32 on the CPU. Each frame's
/// noise depends on the seed and the frame's number alone, so every rank and every strategy can make just the frames
/// it needs; with `initial_noise` it is that file's. Error if the file has too few frames.
at::Tensor frame_noise(const Request& request, int64_t begin, int64_t end);

}  // namespace dualparal
