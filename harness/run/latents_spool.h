// SPDX-License-Identifier: Apache-2.0
// Latents on disk until they are decoded: memory does not grow with the video, and nothing but denoising is measured.
#pragma once

#include <ATen/ATen.h>

#include <deque>
#include <vector>

#include "base/unnamed_file.h"

namespace dualparal {

/// A queue in an UnnamedFile.
class LatentsSpool {
 public:
  /// [1, channels, frames, h, w], fp32, on the CPU; all of one size but for the frames. Error for a full disk.
  void push(const at::Tensor& latents);
  bool empty() const { return frames_.empty(); }
  /// The oldest that is still there.
  at::Tensor pop();

 private:
  UnnamedFile file_{"latents"};
  std::vector<int64_t> shape_;  // of the newest
  std::deque<int64_t> frames_;
  int64_t written_ = 0, read_ = 0;  // bytes
};

}  // namespace dualparal
