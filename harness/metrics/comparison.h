// SPDX-License-Identifier: Apache-2.0
// How far one video is from a reference: the same prompt, noise and length, made by strategy `single`.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace dualparal {

/// psnr_db() of identical videos, and the most that it ever returns: a JSON number, unlike infinity.
constexpr double kLargestPsnrDb = 100.0;

/// Compares two videos piece by piece, so that neither has to be in memory whole.
class VideoComparison {
 public:
  /// The next frames of both, [frames, height, width, 3] uint8 on the CPU, of the same shape.
  void push(const at::Tensor& frames, const at::Tensor& reference);

  /// 10 log10(255^2 / MSE) in dB, MSE over all pixels, channels and frames; at most kLargestPsnrDb.
  double psnr_db() const;
  /// Structural similarity (Wang et al. 2004) of the luma 0.299 R + 0.587 G + 0.114 B, mean over the frames and over
  /// all places where the 11 x 11 Gaussian window (sigma 1.5) fits; K1 = 0.01, K2 = 0.03, L = 255. 1: identical.
  double ssim() const;

 private:
  int64_t frames_ = 0, values_ = 0;
  double squared_error_ = 0, ssim_sum_ = 0;
};

/// The same figures of two videos that are in memory.
double psnr_db(const at::Tensor& frames, const at::Tensor& reference);
double ssim(const at::Tensor& frames, const at::Tensor& reference);

/// |latents - reference| / |reference|, Euclidean norms over everything, piece by piece.
class LatentComparison {
 public:
  /// The next latents of both: the same shape, any device and dtype.
  void push(const at::Tensor& latents, const at::Tensor& reference);
  double relative_error() const;

 private:
  double squared_error_ = 0, squared_reference_ = 0;
};

/// The same of latents that are in memory.
double latent_relative_error(const at::Tensor& latents, const at::Tensor& reference);

}  // namespace dualparal
