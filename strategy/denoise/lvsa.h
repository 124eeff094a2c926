// SPDX-License-Identifier: Apache-2.0
// Long-Video Sparse Attention (arXiv 2605.31057; JiusiServe/LongVideoSparseAttention, lvsa/sparse_attention.py): which
// frames a frame sees. Nothing is trained.
#pragma once

#include <cstdint>
#include <vector>

namespace dualparal {

struct Lvsa {
  int64_t window = 3;        ///< latent frames seen to either side
  int64_t global_every = 1;  ///< distance of the latent frames that all see; 1: all are
};

/// By frame, those that it sees in a denoising step, ascending: 2 * window + 1 neighbours, itself among them, the
/// window shifted where it would reach over an end; the first frame; and every global_every-th, from frame `step` %
/// global_every on and round the end, so that their number is the same in every step.
std::vector<std::vector<int64_t>> lvsa_frames(int64_t frames, const Lvsa& options, int64_t step);

/// The distance of global frames at which a frame sees about as many frames as videos had that the model was trained
/// on: what a longer video costs then grows with its length, not with the square.
int64_t lvsa_global_every(int64_t frames, int64_t window, int64_t trained_frames);

}  // namespace dualparal
