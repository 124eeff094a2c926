// SPDX-License-Identifier: Apache-2.0
#include "model/wan/image_condition.h"

#include "base/errors.h"
#include "model/image/image_input.h"

namespace dualparal {

at::Tensor condition_mask(int64_t latent_frames, int64_t latent_height, int64_t latent_width, int64_t temporal_stride,
                          bool with_last) {
  at::Tensor mask = at::zeros({1, temporal_stride, latent_frames, latent_height, latent_width});
  mask.select(2, 0).fill_(1);
  if (with_last) mask.select(2, latent_frames - 1).select(1, temporal_stride - 1).fill_(1);
  return mask;
}

at::Tensor make_condition(const Vae& vae, const VideoImages& images, int64_t latent_frames, int64_t height,
                          int64_t width) {
  const VaeConfig& config = vae.config();
  const bool with_last = images.last.defined();
  check_usage(!with_last || latent_frames > 1, "--last-image: the video has one latent frame, which is the first");
  const int64_t stride = config.temporal_stride();
  Vae::EncodeStream stream(vae);
  std::vector<at::Tensor> latents{stream.encode(vae_pixels(images.first, height, width))};
  for (int64_t frame = 1; frame < latent_frames; ++frame) {
    at::Tensor grey = at::zeros({1, 3, stride, height, width});
    if (with_last && frame + 1 == latent_frames)
      grey.select(2, stride - 1).copy_(vae_pixels(images.last, height, width).select(2, 0));
    latents.push_back(stream.encode(grey));
  }
  const at::Tensor encoded = at::cat(latents, 2).cpu();
  return at::cat({condition_mask(latent_frames, encoded.size(3), encoded.size(4), stride, with_last), encoded}, 1);
}

}  // namespace dualparal
