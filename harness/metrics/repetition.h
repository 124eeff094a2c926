// SPDX-License-Identifier: Apache-2.0
// `repetition`: does a block copy another one's content, as shared noise might make it do?
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/unnamed_file.h"

namespace dualparal {

/// Keeps the latents on disk, averaged in space over squares of cells so that neither side has more than 32: nothing is
/// lost for the embedded model (8 x 12 cells), and 257 frames of 60 x 104 cells (480x832 pixels) take 6.4 MB, not 103.
class RepetitionMeter {
 public:
  /// block_starts: the latent frames where blocks begin, the first of them 0, ascending.
  RepetitionMeter(std::vector<int64_t> block_starts, int64_t latent_frames);

  /// The next latent frames, [channels, frames, h, w] fp32 on the CPU.
  void push(const at::Tensor& latents);

  /// The highest correlation of two blocks; empty if there are not two blocks that can be compared.
  std::optional<double> highest() const;

 private:
  struct Block {
    int64_t begin, frames;
  };
  at::Tensor motions(const std::vector<Block>& blocks, size_t begin, int64_t frames) const;
  double highest_over(const std::vector<Block>& blocks, size_t count, int64_t frames) const;

  std::vector<int64_t> starts_;          // and the end of the last block
  std::vector<int64_t> shape_;           // of a frame's pooled latents: channels, h, w
  std::unique_ptr<UnnamedFile> pooled_;  // fp32, frame by frame; once there are some
  int64_t frames_ = 0;                   // so far
};

}  // namespace dualparal
