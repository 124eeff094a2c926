// SPDX-License-Identifier: Apache-2.0
// Layers of Wan's causal video VAE (diffusers: autoencoder_kl_wan.py). A video passes in chunks; what a causal
// convolution needs of earlier chunks is kept in a VaeCache, so a chunk's result is that of the whole video.
// All tensors are [batch, channels, frames, height, width].
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "model/ops/layers.h"

namespace dualparal {

/// The last frames that each temporal layer saw, in the order in which the layers run. One per stream.
class VaeCache {
 public:
  /// Call before each chunk.
  void rewind() { next_ = 0; }
  bool first_chunk() const { return chunks_ == 0; }
  void chunk_done() { ++chunks_; }
  /// The slot of the layer that runs now; undefined until that layer has stored something.
  at::Tensor& slot() {
    if (next_ == slots_.size()) slots_.emplace_back();
    return slots_[next_++];
  }

 private:
  std::vector<at::Tensor> slots_;
  size_t next_ = 0;
  int64_t chunks_ = 0;
};

/// Convolution that sees no later frame; kernel (kt, k, k), "same" padding in space.
class CausalConv3d {
 public:
  CausalConv3d() = default;
  CausalConv3d(const WeightScope& scope, int64_t in, int64_t out, int64_t kernel_frames, int64_t kernel_size);
  at::Tensor forward(const at::Tensor& x, VaeCache& cache) const;

 private:
  int64_t kernel_frames_ = 1, padding_ = 0;
  at::Tensor weight_, bias_;
};

/// x / |x| * sqrt(channels) * gamma over the channels, in fp32.
class ChannelNorm {
 public:
  ChannelNorm() = default;
  ChannelNorm(const WeightScope& scope, int64_t channels, bool image);
  at::Tensor forward(const at::Tensor& x) const;

 private:
  at::Tensor scale_;  // [channels, 1, 1, 1] or [channels, 1, 1]: gamma * sqrt(channels)
};

class VaeResidualBlock {
 public:
  VaeResidualBlock(const WeightScope& scope, int64_t in, int64_t out);
  at::Tensor forward(const at::Tensor& x, VaeCache& cache) const;

 private:
  ChannelNorm norm1_, norm2_;
  CausalConv3d conv1_, conv2_, shortcut_;
  bool has_shortcut_;
};

/// Single-head attention over the positions of each frame.
class VaeAttention {
 public:
  VaeAttention(const WeightScope& scope, int64_t channels);
  at::Tensor forward(const at::Tensor& x) const;

 private:
  ChannelNorm norm_;
  at::Tensor qkv_weight_, qkv_bias_, proj_weight_, proj_bias_;  // 1x1 convolutions
};

class VaeMiddle {
 public:
  VaeMiddle(const WeightScope& scope, int64_t channels);
  at::Tensor forward(const at::Tensor& x, VaeCache& cache) const;

 private:
  VaeResidualBlock first_;
  VaeAttention attention_;
  VaeResidualBlock second_;
};

/// Half the height and width, and half the frames if `temporal` (not those of the first chunk).
class VaeDownsample {
 public:
  VaeDownsample(const WeightScope& scope, int64_t channels, bool temporal);
  at::Tensor forward(const at::Tensor& x, VaeCache& cache) const;

 private:
  bool temporal_;
  at::Tensor weight_, bias_, time_weight_, time_bias_;
};

/// Twice the height and width with `out` channels, and twice the frames if `temporal` (not the first chunk's).
class VaeUpsample {
 public:
  VaeUpsample(const WeightScope& scope, int64_t channels, int64_t out, bool temporal);
  at::Tensor forward(const at::Tensor& x, VaeCache& cache) const;

 private:
  bool temporal_;
  at::Tensor weight_, bias_;
  CausalConv3d time_conv_;
};

}  // namespace dualparal
