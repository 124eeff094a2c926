// SPDX-License-Identifier: Apache-2.0
// Images as the VAE and the image encoder take them.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <vector>

namespace dualparal {

enum class ResampleFilter { kBicubic, kLanczos };

/// image: [height, width, 3] uint8 on the CPU -> the same at another size, bit by bit as Image.resize of Pillow 13
/// gives it: widths and heights one after the other, each rounded to 8 bits (Pillow: libImaging/Resample.c).
at::Tensor resize_image(const at::Tensor& image, int64_t height, int64_t width, ResampleFilter filter);

/// For the VAE: stretched to the video's size, as diffusers' VideoProcessor does -> [1, 3, 1, height, width] in -1..1.
at::Tensor vae_pixels(const at::Tensor& image, int64_t height, int64_t width);

/// image_processor/preprocessor_config.json of CLIPImageProcessor.
struct ImageProcessorConfig {
  int64_t shortest_edge = 224;  ///< pixels that the shorter side is resized to
  int64_t crop = 224;           ///< of the square in the middle that is kept
  std::vector<double> mean, std;
};
ImageProcessorConfig read_image_processor_config(const std::filesystem::path& file);

/// For the image encoder: [1, 3, crop, crop] fp32.
at::Tensor encoder_pixels(const at::Tensor& image, const ImageProcessorConfig& config);

}  // namespace dualparal
