// SPDX-License-Identifier: Apache-2.0
// Where finished latents go.
#pragma once

#include <ATen/ATen.h>

namespace dualparal {

class LatentsSink {
 public:
  virtual ~LatentsSink() = default;
  /// Takes the next latents of the video, in frame order, as soon as they are final:
  /// [1, channels, frames, h, w] fp32.
  virtual void push(const at::Tensor& latents) = 0;
};

/// `latents`, [1, channels, frames, h, w] that begin the video, with `first_frame` as their first.
at::Tensor with_first_frame(const at::Tensor& latents, const at::Tensor& first_frame);

/// Throws the latents away.
struct NullSink final : LatentsSink {
  void push(const at::Tensor&) override {}
};

/// Puts an image given as a video's first frame (Request::first_frame, which may be undefined) in its place, in every
/// video of so many latent frames.
class FirstFrameSink final : public LatentsSink {
 public:
  /// inner must outlive it.
  FirstFrameSink(LatentsSink& inner, at::Tensor first_frame, int64_t video_frames)
      : inner_(inner), first_frame_(std::move(first_frame)), video_frames_(video_frames) {}
  void push(const at::Tensor& latents) override;

 private:
  LatentsSink& inner_;
  at::Tensor first_frame_;
  int64_t video_frames_;
  int64_t frames_ = 0;  // of the video so far
};

/// Keeps everything on the CPU.
class CollectingSink final : public LatentsSink {
 public:
  void push(const at::Tensor& latents) override;
  /// All latents so far, [1, channels, frames, h, w].
  at::Tensor latents() const;

 private:
  std::vector<at::Tensor> pieces_;
};

}  // namespace dualparal
