// SPDX-License-Identifier: Apache-2.0
// Overlapping windows over the latent frames of a video, how their predictions are averaged, and FreeNoise's initial
// noise (arXiv 2310.15169), whose frames repeat from window to window.
#pragma once

#include <cstdint>
#include <vector>

#include "strategy/parallel/ranges.h"

namespace dualparal {

/// How much each frame of a window counts where windows overlap.
enum class WindowWeights {
  kFlat,     ///< all the same
  kPyramid,  ///< 1, 2, ... up to the middle and down again
  kLinear,   ///< rising and falling over the overlap, but not where the video begins or ends
};

/// Windows of `window_frames` latent frames, each beginning window_frames - overlap_frames behind the one before; the
/// last one is moved back to end with the video. A video that is no longer than a window is one window.
std::vector<Range> sliding_windows(int64_t frames, int64_t window_frames, int64_t overlap_frames);

/// [w][i]: weight of window w's i-th frame; the weights of a frame of the video add up to 1 over its windows.
std::vector<std::vector<double>> window_weights(const std::vector<Range>& windows, WindowWeights kind,
                                                int64_t overlap_frames);

/// FreeNoise: [f]: the frame, one of the first `window_frames`, whose noise frame f has. Behind the first window, every
/// run of window_frames - overlap_frames frames has the noise of those `window_frames` before it, in random order.
std::vector<int64_t> free_noise_frames(int64_t frames, int64_t window_frames, int64_t overlap_frames, uint64_t seed);

/// What one rank of several does in every step.
struct RankWindows {
  Range windows;    ///< that it predicts: neighbours, so that few frames are predicted on two ranks; maybe none
  Range predicted;  ///< their frames
  Range held;       ///< frames whose latents it has: those, and what is only seen before them
};

/// By rank. seen_before: frames in front of every window that does not begin the video.
std::vector<RankWindows> deal_windows(const std::vector<Range>& windows, int64_t ranks, int64_t seen_before);

/// Frames whose final latents `rank` (not the first) gives to rank 0: those that no rank before it has.
Range finished_by(const std::vector<RankWindows>& dealt, int64_t rank);

}  // namespace dualparal
