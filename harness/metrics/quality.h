// SPDX-License-Identifier: Apache-2.0
// The quality of one video from its own frames and latents, measured while they arrive: a long video is never in
// memory whole. Every metric is defined in docs/metrics.md. Comparisons with a reference: comparison.h.
#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "harness/metrics/content.h"
#include "harness/metrics/drift.h"
#include "harness/metrics/loop.h"
#include "harness/metrics/motion.h"
#include "harness/metrics/number.h"
#include "harness/metrics/repetition.h"
#include "harness/metrics/similarity.h"

namespace dualparal {

/// What is to be measured.
struct QualitySubject {
  int64_t frames = 0;         ///< of the finished video
  int64_t latent_frames = 0;  ///< of the latents; frames <= 4 (latent_frames - 1) + 1
  /// Latent frames where blocks begin, ascending, 0 included or not. Empty: the strategy denoises the whole sequence.
  std::vector<int64_t> block_starts = {};
  std::string prompt = {};
  bool content = false;  ///< measure `content`: for videos of the embedded model only
};

class QualityMeter {
 public:
  explicit QualityMeter(QualitySubject subject);

  /// The next frames, in order: [frames, height, width, 3] uint8 on the CPU. May be called with what arrives, and not
  /// at all if nothing is decoded.
  void push_frames(const at::Tensor& frames);
  /// The next latents, in order: [1, channels, frames, h, w] fp32, any device. May be left out altogether as well.
  void push_latents(const at::Tensor& latents);

  /// The object `quality` of a result line: always the same fields, null where a metric does not apply. `psnr_db`,
  /// `ssim`, `latent_relative_error` and `reference_error` are null here: who has a reference fills them in. Throws
  /// Error if frames or latents began to arrive and did not all come.
  nlohmann::json result() const;

 private:
  QualitySubject subject_;
  std::vector<int64_t> borders_;  // frames that begin a block, but for the first block
  at::Tensor last_frame_;
  // Mean absolute difference of a frame to the one before it, 0..255: where a block begins, where only a latent frame
  // begins, and within a latent frame.
  Mean at_border_, at_latent_frame_, elsewhere_;
  std::optional<double> first_change_;  // the same of the second frame
  Mean later_in_phase_;                 // of the frames after it with which a latent frame begins, borders or not
  MotionMeter motion_;
  LoopMeter loop_;
  SimilarityMeter similarity_;
  DriftMeter colour_drift_, latent_drift_;
  RepetitionMeter repetition_;
  std::optional<ContentMeter> content_;
};

}  // namespace dualparal
