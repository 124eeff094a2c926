// SPDX-License-Identifier: Apache-2.0
#include "harness/run/video_sink.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "base/errors.h"
#include "base/memory.h"
#include "base/nvtx.h"
#include "model/checkpoint/safetensors.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kLatentFramesAtOnce = 2;  // bounds the memory of one decoding call

}  // namespace

VideoSink::VideoSink(VideoSinkOptions options, std::function<std::unique_ptr<Vae>()> load_vae, QualityMeter* quality)
    : options_(std::move(options)), load_vae_(std::move(load_vae)), quality_(quality) {
  // Opened now, so that a path that cannot be written fails before the work, not after it.
  if (!options_.overlap) spool_ = std::make_unique<LatentsSpool>();
  if (!options_.video_path.empty())
    video_ = std::make_unique<VideoFile>(options_.video_path, options_.height, options_.width, options_.fps);
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
  if (!options_.latents_path.empty()) save_piece(copy);
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);  // a full disk ends the denoising, too
  if (spool_) return spool_->push(copy);
  if (copy.is_alias_of(latents)) copy = copy.clone();
  queue_.push_back(copy);
  if (!worker_.joinable()) start_worker();
  changed_.notify_all();
}

void VideoSink::save_piece(const at::Tensor& latents) {
  const fs::path folder = options_.latents_path + ".partial";
  if (latents_pieces_.empty()) fs::remove_all(folder);
  latents_pieces_.push_back(folder / fmt::format("{:05}.safetensors", latents_pieces_.size()));
  write_safetensors(latents_pieces_.back().string(), {{"latents", latents}});
}

void VideoSink::join_pieces() {
  std::vector<at::Tensor> pieces;
  for (const auto& piece : latents_pieces_)
    pieces.push_back(read_tensor(piece.string(), "latents", {1, -1, -1, -1, -1}).clone());
  write_safetensors(options_.latents_path, {{"latents", at::cat(pieces, 2)}});
  fs::remove_all(options_.latents_path + ".partial");
}

void VideoSink::start_worker() {
  // LibTorch's number of threads is a setting of each thread that calls it.
  worker_ = std::thread([this, threads = at::get_num_threads()] {
    at::set_num_threads(threads);
    work();
  });
}

void VideoSink::finish() {
  if (!options_.latents_path.empty()) join_pieces();
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (!worker_.joinable()) start_worker();
  }
  changed_.notify_all();
  worker_.join();
  if (failure_) std::rethrow_exception(failure_);
  if (options_.decode)
    check(frames_written_ == options_.frames, "{} frames were decoded, expected {}", frames_written_, options_.frames);
  if (video_) video_->finish();
}

// Undefined: there is nothing more to do.
at::Tensor VideoSink::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !queue_.empty() || closed_ || abandoned_; });
  if (abandoned_) return {};
  if (spool_) return spool_->empty() ? at::Tensor() : spool_->pop();
  if (queue_.empty()) return {};
  at::Tensor latents = std::move(queue_.front());
  queue_.pop_front();
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
        if (!options_.overlap) reset_peak_memory(at::kCPU);
        vae = load_vae_();
        stream = std::make_unique<Vae::Stream>(*vae);
      }
      decode(*stream, latents);
      decode_s_ += watch.seconds();
      decode_peak_bytes_ = memory_usage(at::kCPU).peak_allocated_bytes;
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
  }
}

void VideoSink::decode(Vae::Stream& stream, const at::Tensor& latents) {
  for (int64_t begin = 0; begin < latents.size(2); begin += kLatentFramesAtOnce) {
    const int64_t end = std::min(begin + kLatentFramesAtOnce, latents.size(2));
    const NvtxRange range("decode and write {} latent frames", end - begin);
    at::Tensor images = to_uint8_frames(stream.decode(latents.slice(2, begin, end)));
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
