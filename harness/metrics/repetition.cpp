// SPDX-License-Identifier: Apache-2.0
#include "harness/metrics/repetition.h"

#include <algorithm>

#include "base/errors.h"

namespace dualparal {
namespace {

constexpr int64_t kLargestSide = 32;  // cells

at::Tensor pool(const at::Tensor& latents) {  // [channels, frames, h, w]
  const int64_t height = latents.size(2), width = latents.size(3);
  const int64_t factor = (std::max(height, width) + kLargestSide - 1) / kLargestSide;
  return at::adaptive_avg_pool2d(latents, {(height + factor - 1) / factor, (width + factor - 1) / factor});
}

/// What changes within a block: less the mean over its frames, at every place. Of norm 1, or zero if nothing moves.
at::Tensor motion(const at::Tensor& block) {  // [channels, frames, h, w]
  const at::Tensor centred = block.to(at::kDouble) - block.to(at::kDouble).mean(1, /*keepdim=*/true);
  const double norm = centred.norm().item<double>();
  const double noise_floor = 1e-6 * block.norm().item<double>();  // rounding of fp32
  return (norm > noise_floor ? centred / norm : at::zeros_like(centred)).flatten();
}

}  // namespace

RepetitionMeter::RepetitionMeter(std::vector<int64_t> block_starts, int64_t latent_frames)
    : starts_(std::move(block_starts)) {
  starts_.push_back(latent_frames);
}

void RepetitionMeter::push(const at::Tensor& latents) {
  pooled_.push_back(pool(latents).clone());  // not a view of the caller's memory
}

std::optional<double> RepetitionMeter::highest() const {
  if (pooled_.empty()) return std::nullopt;
  const at::Tensor latents = at::cat(pooled_, 1);
  std::vector<at::Tensor> blocks;
  std::vector<int64_t> lengths;
  for (size_t i = 0; i + 1 < starts_.size(); ++i) lengths.push_back(starts_[i + 1] - starts_[i]);
  std::vector<int64_t> sorted = lengths;
  std::ranges::sort(sorted);
  const int64_t usual = sorted[sorted.size() / 2];
  for (size_t i = 0; i < lengths.size(); ++i)
    if (lengths[i] >= 2 && 2 * lengths[i] >= usual) blocks.push_back(latents.narrow(1, starts_[i], lengths[i]));

  std::optional<double> highest;
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      // Frame by frame from the beginning of both, as far as the shorter one goes.
      const int64_t frames = std::min(blocks[i].size(1), blocks[j].size(1));
      const at::Tensor a = motion(blocks[i].narrow(1, 0, frames)), b = motion(blocks[j].narrow(1, 0, frames));
      if (a.count_nonzero().item<int64_t>() == 0 || b.count_nonzero().item<int64_t>() == 0) continue;
      highest = std::max(highest.value_or(-1.0), a.dot(b).item<double>());
    }
  }
  return highest;
}

}  // namespace dualparal
