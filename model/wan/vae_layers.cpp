// SPDX-License-Identifier: Apache-2.0
#include "model/wan/vae_layers.h"

#include <cmath>

namespace dualparal {
namespace {

// [batch, channels, frames, h, w] -> [batch * frames, channels, h, w] and back
at::Tensor to_images(const at::Tensor& x) { return x.transpose(1, 2).flatten(0, 1); }
at::Tensor to_video(const at::Tensor& images, int64_t batch) {
  return images.unflatten(0, {batch, images.size(0) / batch}).transpose(1, 2);
}

}  // namespace

CausalConv3d::CausalConv3d(const WeightScope& scope, int64_t in, int64_t out, int64_t kernel_frames,
                           int64_t kernel_size)
    : kernel_frames_(kernel_frames),
      padding_(kernel_size / 2),
      weight_(scope.read("weight", {out, in, kernel_frames, kernel_size, kernel_size})),
      bias_(scope.read("bias", {out})) {}

at::Tensor CausalConv3d::forward(const at::Tensor& x, VaeCache& cache) const {
  if (kernel_frames_ == 1) return at::conv3d(x, weight_, bias_, 1, {0, padding_, padding_});
  const int64_t history = kernel_frames_ - 1;
  at::Tensor& past = cache.slot();  // the last `history` input frames; zeros before the first chunk
  if (!past.defined()) {
    auto shape = x.sizes().vec();
    shape[2] = history;
    past = at::zeros(shape, x.options());
  }
  const at::Tensor window = at::cat({past, x}, 2);
  past = window.slice(2, window.size(2) - history).clone();
  if (x.is_cpu() && padding_ > 0) {
    // The CPU's 3D convolution copies patches and is slow; as a 2D one over the channels of neighbouring frames,
    // output frames as a batch, it runs in oneDNN.
    const at::Tensor stacked = window
                                   .unfold(2, kernel_frames_, 1)  // [batch, channels, frames, h, w, kernel_frames]
                                   .permute({0, 2, 1, 5, 3, 4})
                                   .reshape({x.size(0) * x.size(2), x.size(1) * kernel_frames_, x.size(3), x.size(4)});
    return to_video(at::conv2d(stacked, weight_.flatten(1, 2), bias_, 1, padding_), x.size(0));
  }
  return at::conv3d(window, weight_, bias_, 1, {0, padding_, padding_});
}

ChannelNorm::ChannelNorm(const WeightScope& scope, int64_t channels, bool image) {
  scale_ = image ? scope.read("gamma", {channels, 1, 1}) : scope.read("gamma", {channels, 1, 1, 1});
  if (scale_.defined()) scale_ = scale_.to(at::kFloat) * std::sqrt(static_cast<double>(channels));
}

at::Tensor ChannelNorm::forward(const at::Tensor& x) const {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor length = at::linalg_vector_norm(wide, 2, 1, /*keepdim=*/true).clamp_min_(1e-12);
  return (wide / length).mul_(scale_).to(x.scalar_type());
}

VaeResidualBlock::VaeResidualBlock(const WeightScope& scope, int64_t in, int64_t out)
    : norm1_(scope / "norm1", in, false),
      norm2_(scope / "norm2", out, false),
      conv1_(scope / "conv1", in, out, 3, 3),
      conv2_(scope / "conv2", out, out, 3, 3),
      has_shortcut_(in != out) {
  if (has_shortcut_) shortcut_ = CausalConv3d(scope / "conv_shortcut", in, out, 1, 1);
}

at::Tensor VaeResidualBlock::forward(const at::Tensor& x, VaeCache& cache) const {
  at::Tensor h = norm1_.forward(x);
  h = conv1_.forward(at::silu_(h), cache);
  h = norm2_.forward(h);
  h = conv2_.forward(at::silu_(h), cache);
  return h.add_(has_shortcut_ ? shortcut_.forward(x, cache) : x);
}

VaeAttention::VaeAttention(const WeightScope& scope, int64_t channels)
    : norm_(scope / "norm", channels, true),
      qkv_weight_((scope / "to_qkv").read("weight", {3 * channels, channels, 1, 1})),
      qkv_bias_((scope / "to_qkv").read("bias", {3 * channels})),
      proj_weight_((scope / "proj").read("weight", {channels, channels, 1, 1})),
      proj_bias_((scope / "proj").read("bias", {channels})) {}

at::Tensor VaeAttention::forward(const at::Tensor& x) const {
  const at::Tensor images = to_images(x);  // [batch * frames, channels, h, w]
  const at::Tensor normalised = norm_.forward(images);
  const auto qkv = at::conv2d(normalised, qkv_weight_, qkv_bias_)
                       .flatten(2)
                       .transpose(1, 2)
                       .unsqueeze(1)
                       .contiguous()
                       .chunk(3, -1);  // 3 x [batch * frames, 1, positions, channels]
  const at::Tensor attended = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);
  const at::Tensor projected =
      at::conv2d(attended.squeeze(1).transpose(1, 2).reshape(images.sizes()), proj_weight_, proj_bias_);
  return to_video(projected + images, x.size(0));
}

VaeMiddle::VaeMiddle(const WeightScope& scope, int64_t channels)
    : first_(scope / "resnets.0", channels, channels),
      attention_(scope / "attentions.0", channels),
      second_(scope / "resnets.1", channels, channels) {}

at::Tensor VaeMiddle::forward(const at::Tensor& x, VaeCache& cache) const {
  return second_.forward(attention_.forward(first_.forward(x, cache)), cache);
}

VaeDownsample::VaeDownsample(const WeightScope& scope, int64_t channels, bool temporal)
    : temporal_(temporal),
      weight_((scope / "resample.1").read("weight", {channels, channels, 3, 3})),
      bias_((scope / "resample.1").read("bias", {channels})) {
  if (!temporal) return;
  time_weight_ = (scope / "time_conv").read("weight", {channels, channels, 3, 1, 1});
  time_bias_ = (scope / "time_conv").read("bias", {channels});
}

at::Tensor VaeDownsample::forward(const at::Tensor& x, VaeCache& cache) const {
  const at::Tensor padded = at::constant_pad_nd(to_images(x), {0, 1, 0, 1});
  const at::Tensor small = to_video(at::conv2d(padded, weight_, bias_, 2), x.size(0));
  if (!temporal_) return small;
  at::Tensor& last_frame = cache.slot();
  const at::Tensor window = cache.first_chunk() ? small : at::cat({last_frame, small}, 2);
  last_frame = small.slice(2, small.size(2) - 1).clone();
  return cache.first_chunk() ? small : at::conv3d(window, time_weight_, time_bias_, {2, 1, 1});
}

VaeUpsample::VaeUpsample(const WeightScope& scope, int64_t channels, int64_t out, bool temporal)
    : temporal_(temporal),
      weight_((scope / "resample.1").read("weight", {out, channels, 3, 3})),
      bias_((scope / "resample.1").read("bias", {out})) {
  if (temporal) time_conv_ = CausalConv3d(scope / "time_conv", channels, 2 * channels, 3, 1);
}

at::Tensor VaeUpsample::forward(const at::Tensor& x, VaeCache& cache) const {
  at::Tensor frames = x;
  if (temporal_) {
    if (cache.first_chunk()) {
      cache.slot();  // the first frame stays one frame, and the second chunk does not see it
    } else {
      // Twice the channels become twice the frames: [batch, 2, channels, frames, h, w] -> frames interleaved
      const at::Tensor pairs = time_conv_.forward(x, cache).unflatten(1, {2, x.size(1)});
      frames = pairs.permute({0, 2, 3, 1, 4, 5}).flatten(2, 3);
    }
  }
  const at::Tensor large = at::upsample_nearest2d(to_images(frames), {2 * x.size(3), 2 * x.size(4)});
  return to_video(at::conv2d(large, weight_, bias_, 1, 1), x.size(0));
}

}  // namespace dualparal
