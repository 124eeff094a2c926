// SPDX-License-Identifier: Apache-2.0
// 3D rotary position embedding (diffusers: WanRotaryPosEmbed).
#pragma once

#include <ATen/ATen.h>

namespace dualparal {

/// Cosines and sines of the tokens' positions, one pair of numbers per pair of channels.
struct RotaryTable {
  at::Tensor cos;  ///< [tokens, head_dim / 2] fp32
  at::Tensor sin;  ///< [tokens, head_dim / 2] fp32

  int64_t tokens() const { return cos.size(0); }
  /// The positions of tokens [begin, end), in memory of its own.
  RotaryTable cut(int64_t begin, int64_t end) const {
    return {cos.slice(0, begin, end).clone(), sin.slice(0, begin, end).clone()};
  }
};

/// Tokens of a window, in the order of the sequence: frame by frame, row by row.
struct TokenGrid {
  int64_t frames = 0;  ///< latent frames
  int64_t height = 0;  ///< patches
  int64_t width = 0;   ///< patches

  int64_t frame_tokens() const { return height * width; }
  int64_t tokens() const { return frames * height * width; }
};

/// RIFLEx (arXiv 2502.15894, eq. 8): one temporal frequency is lowered so that a video longer than those trained on
/// stays within nine tenths of its period.
struct RotaryScaling {
  int64_t index = 0;   ///< of the frequency, the highest is 1; 0: none is changed
  int64_t frames = 0;  ///< latent frames of the video (L_test)
};

/// How many frequencies the temporal axis of a head of `head_dim` channels has.
int64_t temporal_frequencies(int64_t head_dim);

/// The frequency whose period bounds videos of `trained_frames` latent frames: the highest that does not come round
/// within them. 0 if all do. head_dim: channels of a head.
int64_t riflex_index(int64_t head_dim, int64_t trained_frames);

class RotaryEmbedding {
 public:
  RotaryEmbedding(int64_t head_dim, int64_t max_positions) : head_dim_(head_dim), max_positions_(max_positions) {}

  /// Table for `grid.frames` frames at temporal positions first_frame, first_frame + 1, ... counted within the
  /// window. Throws Error for positions past `rope_max_seq_len`.
  RotaryTable table(const TokenGrid& grid, int64_t first_frame, const at::Device& device,
                    const RotaryScaling& scaling = {}) const;

 private:
  int64_t head_dim_;
  int64_t max_positions_;
};

}  // namespace dualparal
