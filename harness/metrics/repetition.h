// SPDX-License-Identifier: Apache-2.0
// `repetition`: does a block copy another one's content, as shared noise might make it do?
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace dualparal {

/// Keeps the latents, averaged in space over squares of cells so that neither side has more than 32: nothing is lost
/// for the embedded model (8 x 12 cells), and 257 frames of 60 x 104 cells (480x832 pixels) take 6.4 MB, not 103.
class RepetitionMeter {
 public:
  /// block_starts: the latent frames where blocks begin, the first of them 0, ascending.
  RepetitionMeter(std::vector<int64_t> block_starts, int64_t latent_frames);

  /// The next latent frames, [channels, frames, h, w] fp32 on the CPU.
  void push(const at::Tensor& latents);

  /// The highest correlation of two blocks; empty if there are not two blocks that can be compared.
  std::optional<double> highest() const;

 private:
  std::vector<int64_t> starts_;  // and the end of the last block
  at::Tensor pooled_;            // [frames, channels, h, w], room for all of them
  int64_t frames_ = 0;           // so far
};

}  // namespace dualparal
