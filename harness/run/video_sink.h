// SPDX-License-Identifier: Apache-2.0
// What happens to finished latents: saved, decoded, measured, written. Decoding runs in a thread of its own.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "harness/media/video_file.h"
#include "harness/metrics/quality.h"
#include "harness/run/latents_file.h"
#include "harness/run/latents_spool.h"
#include "model/wan/wan_model.h"
#include "strategy/denoise/latents_sink.h"

namespace dualparal {

struct VideoSinkOptions {
  int64_t frames = 0;  ///< of the video; what is decoded beyond them is cut
  /// As many as come; decoded meanwhile. push() waits while much is still to be decoded: nothing grows.
  bool endless = false;
  int64_t height = 0, width = 0, fps = 16;
  at::Device device = at::kCPU;  ///< that decodes
  bool decode = true;
  /// Decode while later latents are still being denoised: takes time and memory that are being measured.
  bool overlap = false;
  std::string video_path;              ///< mp4, or empty
  std::vector<Chapter> chapters = {};  ///< of the mp4
  std::string frames_dir;              ///< PNG files, or empty
  /// safetensors, or empty: see LatentsFile.
  std::string latents_path;
};

class VideoSink final : public LatentsSink {
 public:
  /// `load_vae` is called when the first latents are to be decoded. `quality` may be null.
  VideoSink(VideoSinkOptions options, std::function<std::unique_ptr<Vae>()> load_vae, QualityMeter* quality);
  /// Without finish(): stops; of the video, what has been encoded stays at growing_path().
  ~VideoSink() override;

  /// NotFiniteError for latents with NaN or infinity.
  void push(const at::Tensor& latents) override;
  /// Decodes what is left and completes the files. Throws what went wrong in the decoding thread.
  void finish();

  /// Seconds spent decoding (and measuring and writing).
  double decode_s() const { return decode_s_; }
  int64_t decode_peak_memory_bytes() const { return decode_peak_bytes_; }
  /// Pushed so far; decoded, once finish() is done.
  int64_t latent_frames() const { return latent_frames_; }
  int64_t frames_written() const { return frames_written_; }

 private:
  void start_worker();
  void work();
  at::Tensor next();
  void decode(Vae::Stream& stream, const at::Tensor& latents);

  VideoSinkOptions options_;
  std::function<std::unique_ptr<Vae>()> load_vae_;
  QualityMeter* quality_;
  std::unique_ptr<VideoFile> video_;
  std::unique_ptr<LatentsFile> latents_;
  int64_t latent_frames_ = 0;  // pushed so far
  int64_t frames_written_ = 0;

  double decode_s_ = 0;
  int64_t decode_peak_bytes_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<at::Tensor> queue_;         // endless
  std::unique_ptr<LatentsSpool> spool_;  // else: latents wait on disk
  bool closed_ = false, abandoned_ = false;
  std::exception_ptr failure_;
  std::thread worker_;
};

}  // namespace dualparal
