// SPDX-License-Identifier: Apache-2.0
// What becomes of a run's finished latents on rank 0: a video with its figures, or every video of a list.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "harness/options/generate_options.h"
#include "model/wan/wan_model.h"
#include "strategy/denoise/latents_sink.h"
#include "strategy/plan.h"

namespace dualparal {

class RunOutput : public LatentsSink {
 public:
  /// Decodes what is left and completes the files.
  virtual void finish() = 0;
  /// Seconds spent decoding (and measuring and writing), of all videos.
  virtual double decode_s() const = 0;
  virtual int64_t decode_peak_memory_bytes() const = 0;
  /// Of all videos: pushed so far; once finish() is done, frames decoded.
  virtual int64_t latent_frames() const = 0;
  virtual int64_t frames_written() const = 0;
  /// After finish(): QualityMeter::result() of each video, null where it was not asked for.
  virtual std::vector<nlohmann::ordered_json> qualities() const = 0;
};

/// What all videos of a run have in common. Model and plan must outlive the output.
struct OutputSubject {
  const WanModel& model;
  const StrategyPlan& plan;
  int64_t latent_frames = 0;          ///< of each video
  std::vector<int64_t> videos = {0};  ///< of a list in a scenario, counted from 0: those that are pushed
  at::Device device = at::kCPU;
  std::function<std::unique_ptr<Vae>()> load_vae;
};

/// Of one video, its latents into latents_path if that is not empty; or of a list in a scenario, whose videos are
/// decoded when all are denoised, while the latents of each are saved as soon as they are final. Files are opened
/// before the work: what cannot be written fails now.
std::unique_ptr<RunOutput> open_output(const GenerateOptions& options, const OutputSubject& subject,
                                       const std::string& latents_path);

}  // namespace dualparal
