// SPDX-License-Identifier: Apache-2.0
#include "harness/run/video_sink.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "base/errors.h"
#include "base/files.h"
#include "base/finite.h"
#include "base/measure/memory.h"
#include "base/measure/nvtx.h"
#include "strategy/denoise/number_watch.h"

namespace dualparal {
namespace {

constexpr int64_t kLatentFramesAtOnce = 2;  // bounds the memory of one decoding call
constexpr size_t kMostWaiting = 8;          // pieces, of a video without an end

}  // namespace

VideoSink::VideoSink(VideoSinkOptions options, std::function<std::unique_ptr<Vae>()> load_vae, QualityMeter* quality)
    : options_(std::move(options)), load_vae_(std::move(load_vae)), quality_(quality) {
  // What a killed run has left, it can only have left hidden: nobody would find it.
  for (const auto& path : {options_.video_path, options_.latents_path})
    if (!path.empty()) remove_abandoned_beside(path);
  // Opened now, so that a path that cannot be written fails before the work, not after it. An endless video's decoding
  // keeps step: its latents do not wait on disk, where those that were decoded would stay.
  if (!options_.endless) spool_ = std::make_unique<LatentsSpool>();
  if (!options_.video_path.empty())
    video_ = std::make_unique<VideoFile>(options_.video_path, options_.height, options_.width, options_.fps,
                                         options_.chapters, options_.frames);
  if (!options_.latents_path.empty()) latents_ = std::make_unique<LatentsFile>(options_.latents_path);
}

VideoSink::~VideoSink() {
  {
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
  }
  changed_.notify_all();
  if (worker_.joinable()) worker_.join();
}

void VideoSink::push(const at::Tensor& latents) {
  at::Tensor copy = latents.to(at::kCPU, at::kFloat);
  // Here, where they are on the CPU anyhow: a video of NaN is a video, too, with figures of quality.
  if (!all_finite(copy))
    throw NotFiniteError(fmt::format("latent frames {}..{} are not finite: they hold NaN or infinity", latent_frames_,
                                     latent_frames_ + copy.size(2) - 1));
  latent_frames_ += copy.size(2);
  if (latents_) latents_->push(copy);
  std::unique_lock lock(mutex_);
  if (options_.endless) changed_.wait(lock, [this] { return queue_.size() < kMostWaiting || failure_; });
  if (failure_) std::rethrow_exception(failure_);  // a full disk ends the denoising, too
  if (spool_) {
    spool_->push(copy);
  } else {
    if (copy.is_alias_of(latents)) copy = copy.clone();
    queue_.push_back(copy);
  }
  if ((options_.overlap || options_.endless) && !worker_.joinable()) start_worker();
  changed_.notify_all();
}

void VideoSink::start_worker() {
  // LibTorch's number of threads is a setting of each thread that calls it.
  worker_ = std::thread([this, threads = at::get_num_threads()] {
    at::set_num_threads(threads);
    work();
  });
}

void VideoSink::finish() {
  if (latents_) latents_->finish();
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (!worker_.joinable()) start_worker();
  }
  changed_.notify_all();
  worker_.join();
  if (failure_) std::rethrow_exception(failure_);
  if (options_.decode && !options_.endless)
    check(frames_written_ == options_.frames, "{} frames were decoded, expected {}", frames_written_, options_.frames);
  if (options_.endless && frames_written_ == 0) video_.reset();
  if (video_) video_->finish(options_.endless ? VideoIndex::kFragments : VideoIndex::kWhole);
}

// Undefined: there is nothing more to do.
at::Tensor VideoSink::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !queue_.empty() || (spool_ && !spool_->empty()) || closed_ || abandoned_; });
  if (abandoned_) return {};
  if (spool_) return spool_->empty() ? at::Tensor() : spool_->pop();
  if (queue_.empty()) return {};
  at::Tensor latents = std::move(queue_.front());
  queue_.pop_front();
  changed_.notify_all();
  return latents;
}

void VideoSink::work() {
  const c10::InferenceMode inference;
  try {
    std::unique_ptr<Vae> vae;
    std::unique_ptr<Vae::Stream> stream;
    for (;;) {
      const at::Tensor latents = next();
      if (!latents.defined()) return;
      if (quality_) quality_->push_latents(latents);
      if (!options_.decode) continue;
      const Stopwatch watch;
      if (!vae) {
        if (!options_.overlap) reset_peak_memory(options_.device);
        vae = load_vae_();
        stream = std::make_unique<Vae::Stream>(*vae);
      }
      decode(*stream, latents);
      decode_s_ += watch.seconds();
      decode_peak_bytes_ = memory_usage(options_.device).peak_allocated_bytes;
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    changed_.notify_all();
  }
}

void VideoSink::decode(Vae::Stream& stream, const at::Tensor& latents) {
  for (int64_t begin = 0; begin < latents.size(2); begin += kLatentFramesAtOnce) {
    const int64_t end = std::min(begin + kLatentFramesAtOnce, latents.size(2));
    const NvtxRange range("decode and write {} latent frames", end - begin);
    const at::Tensor pixels = stream.decode(latents.slice(2, begin, end));
    check(all_finite(pixels), "video frames {} and on are not finite: the VAE makes NaN or infinity of their latents{}",
          frames_written_, pixels.scalar_type() == at::kHalf ? " in fp16: --vae-dtype fp32 or bf16 hold more" : "");
    at::Tensor images = to_uint8_frames(pixels);
    images = images.slice(0, 0, std::min(images.size(0), options_.frames - frames_written_));
    if (quality_) quality_->push_frames(images);
    if (video_) video_->write(images);
    if (!options_.frames_dir.empty())
      for (int64_t i = 0; i < images.size(0); ++i)
        write_png(std::filesystem::path(options_.frames_dir) / fmt::format("frame_{:05}.png", frames_written_ + i),
                  images[i]);
    frames_written_ += images.size(0);
  }
}

}  // namespace dualparal
