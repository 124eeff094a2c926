// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/noise.h"

#include <ATen/CPUGeneratorImpl.h>

#include "base/errors.h"
#include "strategy/strategy.h"

namespace dualparal {

at::Tensor frame_noise(const Request& request, int64_t begin, int64_t end) {
  const at::Tensor& given = request.initial_noise;
  if (given.defined()) {
    check(end <= given.size(2), "--initial-noise: the file has {} latent frames, frames {}..{} are needed",
          given.size(2), begin, end - 1);
    return given.slice(2, begin, end);
  }
  at::Tensor noise = at::empty({1, request.channels, end - begin, request.latent_height, request.latent_width});
  for (int64_t frame = begin; frame < end; ++frame) {
    // Distinct streams: the generator mixes its seed well, and seeds of neighbouring runs do not meet.
    const uint64_t stream = request.seed * 0x9E3779B97F4A7C15ull + static_cast<uint64_t>(frame);
    const auto generator = at::detail::createCPUGenerator(stream);
    noise.select(2, frame - begin)
        .copy_(at::randn({1, request.channels, request.latent_height, request.latent_width}, generator));
  }
  return noise;
}

at::Tensor Strategy::initial_noise(const Request& request) const {
  return frame_noise(request, 0, request.latent_frames);
}

}  // namespace dualparal
