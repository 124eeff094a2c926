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

}  // namespace

RepetitionMeter::RepetitionMeter(std::vector<int64_t> block_starts, int64_t latent_frames)
    : starts_(std::move(block_starts)) {
  starts_.push_back(latent_frames);
}

void RepetitionMeter::push(const at::Tensor& latents) {
  const at::Tensor pooled = pool(latents).transpose(0, 1).contiguous();
  check(frames_ + pooled.size(0) <= starts_.back(), "quality: {} latent frames came, expected {}",
        frames_ + pooled.size(0), starts_.back());
  if (!pooled_) {
    pooled_ = std::make_unique<UnnamedFile>("pooled-latents");
    shape_ = pooled[0].sizes().vec();
  }
  const auto bytes = static_cast<int64_t>(pooled.nbytes());
  pooled_->write(pooled.const_data_ptr(), bytes, frames_ * (bytes / pooled.size(0)));
  frames_ += pooled.size(0);
}

// Of the first `frames` of blocks [begin, begin + kBlocksAtOnce), as far as there are so many: [blocks, values].
at::Tensor RepetitionMeter::motions(const std::vector<Block>& blocks, size_t begin, int64_t frames) const {
  const at::Tensor block = at::empty({frames, shape_[0], shape_[1], shape_[2]}, at::kFloat);
  const auto bytes = static_cast<int64_t>(block.nbytes());
  std::vector<at::Tensor> rows;
  for (size_t i = begin; i < std::min(begin + kBlocksAtOnce, blocks.size()); ++i) {
    pooled_->read(block.mutable_data_ptr(), bytes, blocks[i].begin * (bytes / frames));
    rows.push_back(motion(block));
  }
  return at::stack(rows);
}

// The highest correlation of one of the first `count` blocks with one behind it, over their first `frames`. Minus
// infinity: none of them moves.
double RepetitionMeter::highest_over(const std::vector<Block>& blocks, size_t count, int64_t frames) const {
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

std::optional<double> RepetitionMeter::highest() const {
  if (!pooled_) return std::nullopt;
  std::vector<Block> blocks;
  std::vector<int64_t> lengths;
  for (size_t i = 0; i + 1 < starts_.size(); ++i) lengths.push_back(starts_[i + 1] - starts_[i]);
  std::vector<int64_t> sorted = lengths;
  std::ranges::sort(sorted);
  const int64_t usual = sorted[sorted.size() / 2];
  for (size_t i = 0; i < lengths.size(); ++i)
    if (lengths[i] >= 2 && 2 * lengths[i] >= usual) blocks.push_back({starts_[i], lengths[i]});

  // Frame by frame from the beginning of both, as far as the shorter one goes: the shortest against all, and so on.
  std::ranges::stable_sort(blocks, {}, &Block::frames);
  double highest = -std::numeric_limits<double>::infinity();
  while (!blocks.empty()) {
    const int64_t frames = blocks.front().frames;
    const auto longer = std::ranges::upper_bound(blocks, frames, {}, &Block::frames);
    highest = std::max(highest, highest_over(blocks, static_cast<size_t>(longer - blocks.begin()), frames));
    blocks.erase(blocks.begin(), longer);
  }
  return std::isfinite(highest) ? std::optional(highest) : std::nullopt;
}

}  // namespace dualparal
