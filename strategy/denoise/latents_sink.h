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

/// Throws the latents away.
struct NullSink final : LatentsSink {
  void push(const at::Tensor&) override {}
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
