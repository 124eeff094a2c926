// SPDX-License-Identifier: Apache-2.0
#include "harness/metrics/comparison.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"

namespace dualparal {
namespace {

constexpr int64_t kWindow = 11;
constexpr double kSigma = 1.5;
constexpr double kLargest = 255.0;  // L, the largest pixel value

at::Tensor luma(const at::Tensor& frame) {
  return at::matmul(frame.to(at::kDouble), at::tensor({0.299, 0.587, 0.114}, at::kDouble));  // [height, width]
}

/// Gaussian-weighted mean around every place where the window fits. images: [n, height, width] double
at::Tensor window_mean(const at::Tensor& images) {
  at::Tensor weights = at::arange(kWindow, at::kDouble) - static_cast<double>(kWindow / 2);
  weights = at::exp(-weights.square() / (2 * kSigma * kSigma));
  weights = weights / weights.sum();
  at::Tensor mean = at::conv2d(images.unsqueeze(1), weights.view({1, 1, kWindow, 1}));
  return at::conv2d(mean, weights.view({1, 1, 1, kWindow})).squeeze(1);
}

double frame_ssim(const at::Tensor& a, const at::Tensor& b) {
  const double c1 = std::pow(0.01 * kLargest, 2), c2 = std::pow(0.03 * kLargest, 2);
  const auto means = window_mean(at::stack({a, b, a * a, b * b, a * b})).unbind(0);
  const at::Tensor &mean_a = means[0], &mean_b = means[1];
  const at::Tensor variance_a = means[2] - mean_a.square(), variance_b = means[3] - mean_b.square();
  const at::Tensor covariance = means[4] - mean_a * mean_b;
  const at::Tensor similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) /
                                ((mean_a.square() + mean_b.square() + c1) * (variance_a + variance_b + c2));
  return similarity.mean().item<double>();
}

}  // namespace

void VideoComparison::push(const at::Tensor& frames, const at::Tensor& reference) {
  check(frames.dim() == 4 && frames.size(3) == 3 && frames.scalar_type() == at::kByte && frames.is_cpu(),
        "comparison: expected frames [frames, height, width, 3] of uint8 on the CPU, got [{}] of {}",
        fmt::join(frames.sizes(), ", "), at::toString(frames.scalar_type()));
  check(frames.sizes() == reference.sizes() && reference.scalar_type() == at::kByte && reference.is_cpu(),
        "comparison: the reference must be like the video, [{}] of uint8 on the CPU, but is [{}] of {}",
        fmt::join(frames.sizes(), ", "), fmt::join(reference.sizes(), ", "), at::toString(reference.scalar_type()));
  check(frames.size(1) >= kWindow && frames.size(2) >= kWindow,
        "comparison: SSIM needs frames of at least {} x {} pixels, got {} x {}", kWindow, kWindow, frames.size(1),
        frames.size(2));
  for (int64_t i = 0; i < frames.size(0); ++i) {
    const at::Tensor difference = frames[i].to(at::kDouble) - reference[i].to(at::kDouble);
    squared_error_ += difference.square().sum().item<double>();
    ssim_sum_ += frame_ssim(luma(frames[i]), luma(reference[i]));
  }
  frames_ += frames.size(0);
  values_ += frames.numel();
}

double VideoComparison::psnr_db() const {
  check(values_ > 0, "comparison: no frames were compared");
  if (squared_error_ == 0) return kLargestPsnrDb;
  const double mean_squared_error = squared_error_ / static_cast<double>(values_);
  return std::min(kLargestPsnrDb, 10 * std::log10(kLargest * kLargest / mean_squared_error));
}

double VideoComparison::ssim() const {
  check(frames_ > 0, "comparison: no frames were compared");
  return ssim_sum_ / static_cast<double>(frames_);
}

double psnr_db(const at::Tensor& frames, const at::Tensor& reference) {
  VideoComparison comparison;
  comparison.push(frames, reference);
  return comparison.psnr_db();
}

double ssim(const at::Tensor& frames, const at::Tensor& reference) {
  VideoComparison comparison;
  comparison.push(frames, reference);
  return comparison.ssim();
}

void LatentComparison::push(const at::Tensor& latents, const at::Tensor& reference) {
  check(latents.sizes() == reference.sizes(), "latent_relative_error: shapes differ: [{}] and [{}]",
        fmt::join(latents.sizes(), ", "), fmt::join(reference.sizes(), ", "));
  const at::Tensor wanted = reference.to(at::kCPU, at::kDouble);
  squared_reference_ += wanted.square().sum().item<double>();
  squared_error_ += (latents.to(at::kCPU, at::kDouble) - wanted).square().sum().item<double>();
}

double LatentComparison::relative_error() const {
  check(squared_reference_ > 0, "latent_relative_error: the reference is zero everywhere");
  return std::sqrt(squared_error_ / squared_reference_);
}

double latent_relative_error(const at::Tensor& latents, const at::Tensor& reference) {
  LatentComparison comparison;
  comparison.push(latents, reference);
  return comparison.relative_error();
}

}  // namespace dualparal
