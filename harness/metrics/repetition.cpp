// SPDX-License-Identifier: Apache-2.0
#include "harness/metrics/repetition.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/errors.h"

namespace dualparal {
namespace {

constexpr int64_t kLargestSide = 32;  // cells
constexpr size_t kBlocksAtOnce = 32;  // compared with as many others by a matrix product

at::Tensor pool(const at::Tensor& latents) {  // [channels, frames, h, w]
  const int64_t height = latents.size(2), width = latents.size(3);
  const int64_t factor = (std::max(height, width) + kLargestSide - 1) / kLargestSide;
  return at::adaptive_avg_pool2d(latents, {(height + factor - 1) / factor, (width + factor - 1) / factor});
}

/// What changes within a block: less the mean over its frames, at every place. Of norm 1, or zero if nothing moves.
at::Tensor motion(const at::Tensor& block) {  // [frames, channels, h, w]
  const at::Tensor centred = block.to(at::kDouble) - block.to(at::kDouble).mean(0, /*keepdim=*/true);
  const double norm = centred.norm().item<double>();
  const double noise_floor = 1e-6 * block.norm().item<double>();  // rounding of fp32
  return (norm > noise_floor ? centred / norm : at::zeros_like(centred)).flatten();
}

/// Of the first `frames` of blocks [begin, begin + kBlocksAtOnce), as far as there are so many: [blocks, values].
at::Tensor motions(const std::vector<at::Tensor>& blocks, size_t begin, int64_t frames) {
  std::vector<at::Tensor> rows;
  for (size_t i = begin; i < std::min(begin + kBlocksAtOnce, blocks.size()); ++i)
    rows.push_back(motion(blocks[i].narrow(0, 0, frames)));
  return at::stack(rows);
}

/// The highest correlation of one of the first `count` blocks with one behind it, over their first `frames`. Minus
/// infinity: none of them moves.
double highest_over(const std::vector<at::Tensor>& blocks, size_t count, int64_t frames) {
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  double highest = kNone;
  for (size_t i = 0; i < count; i += kBlocksAtOnce) {
    const at::Tensor own = motions(blocks, i, frames);
    for (size_t j = i; j < blocks.size(); j += kBlocksAtOnce) {
      const at::Tensor others = motions(blocks, j, frames);
      const at::Tensor behind = at::ones({own.size(0), others.size(0)}, at::kBool)
                                    .triu(static_cast<int64_t>(i) - static_cast<int64_t>(j) + 1);
      const at::Tensor pairs =
          behind & own.any(1).unsqueeze(1) & others.any(1).unsqueeze(0) &
          (at::arange(own.size(0)) < static_cast<int64_t>(count - i)).unsqueeze(1);  // not those that are longer
      highest = std::max(highest, at::where(pairs, own.mm(others.t()), kNone).max().item<double>());
    }
  }
  return highest;
}

}  // namespace

RepetitionMeter::RepetitionMeter(std::vector<int64_t> block_starts, int64_t latent_frames)
    : starts_(std::move(block_starts)) {
  starts_.push_back(latent_frames);
}

void RepetitionMeter::push(const at::Tensor& latents) {
  const at::Tensor pooled = pool(latents).transpose(0, 1);
  check(frames_ + pooled.size(0) <= starts_.back(), "quality: {} latent frames came, expected {}",
        frames_ + pooled.size(0), starts_.back());
  if (!pooled_.defined())
    pooled_ = at::empty({starts_.back(), pooled.size(1), pooled.size(2), pooled.size(3)}, at::kFloat);
  pooled_.narrow(0, frames_, pooled.size(0)).copy_(pooled);
  frames_ += pooled.size(0);
}

std::optional<double> RepetitionMeter::highest() const {
  if (!pooled_.defined()) return std::nullopt;
  std::vector<at::Tensor> blocks;
  std::vector<int64_t> lengths;
  for (size_t i = 0; i + 1 < starts_.size(); ++i) lengths.push_back(starts_[i + 1] - starts_[i]);
  std::vector<int64_t> sorted = lengths;
  std::ranges::sort(sorted);
  const int64_t usual = sorted[sorted.size() / 2];
  for (size_t i = 0; i < lengths.size(); ++i)
    if (lengths[i] >= 2 && 2 * lengths[i] >= usual) blocks.push_back(pooled_.narrow(0, starts_[i], lengths[i]));

  // Frame by frame from the beginning of both, as far as the shorter one goes: the shortest against all, and so on.
  const auto length = [](const at::Tensor& block) { return block.size(0); };
  std::ranges::stable_sort(blocks, {}, length);
  double highest = -std::numeric_limits<double>::infinity();
  while (!blocks.empty()) {
    const int64_t frames = length(blocks.front());
    const auto longer = std::ranges::upper_bound(blocks, frames, {}, length);
    highest = std::max(highest, highest_over(blocks, static_cast<size_t>(longer - blocks.begin()), frames));
    blocks.erase(blocks.begin(), longer);
  }
  return std::isfinite(highest) ? std::optional(highest) : std::nullopt;
}

}  // namespace dualparal
