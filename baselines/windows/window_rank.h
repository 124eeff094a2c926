// SPDX-License-Identifier: Apache-2.0
// One rank's part of sliding context windows: its windows, a step of theirs, and the exchange with the ranks that
// predict some of its frames as well.
#pragma once

#include <map>

#include "baselines/windows/sliding_windows.h"
#include "strategy/denoise/denoiser.h"
#include "strategy/denoise/local_attention.h"
#include "strategy/parallel/exchange.h"
#include "strategy/strategy.h"

namespace dualparal {

struct WindowOptions {
  int64_t window_frames = 21, overlap_frames = 4;
  WindowWeights weights = WindowWeights::kPyramid;
  bool free_noise = false, first_frame_fix = true;
  GuidanceHalves halves = GuidanceHalves::kBatched;

  /// Frames in front of every window that does not begin the video.
  int64_t seen_before() const { return first_frame_fix ? 1 : 0; }
  std::vector<Range> windows(int64_t frames) const { return sliding_windows(frames, window_frames, overlap_frames); }
};

/// Initial noise of some latent frames, [1, channels, frames, h, w] fp32 on the CPU. A request with `initial_noise` has
/// its frames taken as they are.
at::Tensor window_noise(const Request& request, const WindowOptions& options, const Range& frames);

class WindowRank {
 public:
  /// Both must outlive it.
  WindowRank(const DenoiseContext& context, const WindowOptions& options);

  /// All steps. Rank 0 hands the video's latents to the sink.
  void run();

 private:
  struct Arriving {
    Range frames;
    Exchange::Incoming message;
  };

  at::Tensor predict(int64_t step);
  void predict_window(int64_t window, int64_t step, const NoiseLevel& time, at::Tensor& sum);
  std::vector<Arriving> receive();
  void send(const at::Tensor& sum);
  void collect();
  const Pass& pass_of(int64_t frames);
  at::Tensor frames_of(const at::Tensor& x, const Range& frames) const;
  WorkLabel label(int64_t step) const;

  const DenoiseContext& context_;
  const WindowOptions& options_;
  Exchange exchange_;
  LocalAttention attention_;
  std::vector<Range> windows_;
  std::vector<RankWindows> dealt_;  // by rank
  RankWindows own_;
  Denoiser denoiser_;
  std::vector<at::Tensor> weights_;  // by window, [1, 1, frames, 1, 1]
  std::map<int64_t, Pass> passes_;   // by number of frames
  at::Tensor latents_;               // of the frames held, [1, channels, frames, h, w] fp32
};

}  // namespace dualparal
