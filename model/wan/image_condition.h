// SPDX-License-Identifier: Apache-2.0
// What a model that makes videos from an image is told of it, beside the latents of every frame.
#pragma once

#include <ATen/ATen.h>

#include "model/wan/vae.h"

namespace dualparal {

/// First image of a video, and the last, which may be undefined: [height, width, 3] uint8 each.
struct VideoImages {
  at::Tensor first, last = {};
};

/// What is made of them.
struct ImageCondition {
  at::Tensor embeds = {};     ///< [1, image tokens, image_dim] fp32; undefined without an image encoder
  at::Tensor condition = {};  ///< [1, mask and latent channels, frames, h, w] fp32
};

/// Which frames of the video are given, as the channels of each latent frame: ones for the first (all channels), and
/// for the last one of a video with a last image (last channel): [1, temporal stride, latent_frames, h, w].
at::Tensor condition_mask(int64_t latent_frames, int64_t latent_height, int64_t latent_width, int64_t temporal_stride,
                          bool with_last);

/// Mask and encoded images: the first image, grey frames, the last image. [1, stride + z_dim, latent_frames, h, w] fp32
at::Tensor make_condition(const Vae& vae, const VideoImages& images, int64_t latent_frames, int64_t height,
                          int64_t width);

}  // namespace dualparal
