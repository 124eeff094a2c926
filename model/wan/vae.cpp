// SPDX-License-Identifier: Apache-2.0
#include "model/wan/vae.h"

#include "base/errors.h"
#include "base/measure/nvtx.h"

namespace dualparal {
namespace {

// Layers of several kinds in one list: residual blocks and what changes the size between them, or whole levels.
template <class Layers>
at::Tensor run(const Layers& layers, at::Tensor x, VaeCache& cache) {
  for (const auto& layer : layers) x = std::visit([&](const auto& l) { return l.forward(x, cache); }, layer);
  return x;
}

}  // namespace

VaeEncoder::VaeEncoder(const VaeConfig& config, const WeightScope& root) {
  const WeightScope scope = root / "encoder";
  int64_t channels = config.base_dim;
  conv_in_ = CausalConv3d(scope / "conv_in", config.pixel_channels(), channels, 3, 3);
  const auto next_scope = [&] { return scope / "down_blocks" / std::to_string(down_.size()); };
  for (size_t level = 0; level < config.dim_mult.size(); ++level) {
    const int64_t out = config.base_dim * config.dim_mult[level];
    const bool last = level + 1 == config.dim_mult.size(), temporal = !last && config.temporal_downsample[level];
    if (config.is_residual) {
      down_.emplace_back(VaeDownLevel(next_scope(), channels, out, config.num_res_blocks, last, temporal));
      channels = out;
      continue;
    }
    for (int64_t i = 0; i < config.num_res_blocks; ++i, channels = out)
      down_.emplace_back(VaeResidualBlock(next_scope(), channels, out));
    if (!last) down_.emplace_back(VaeDownsample(next_scope(), channels, temporal));
  }
  middle_ = std::make_unique<VaeMiddle>(scope / "mid_block", channels);
  norm_out_ = ChannelNorm(scope / "norm_out", channels, false);
  conv_out_ = CausalConv3d(scope / "conv_out", channels, 2 * config.z_dim, 3, 3);
  quant_conv_ = CausalConv3d(root / "quant_conv", 2 * config.z_dim, 2 * config.z_dim, 1, 1);
}

at::Tensor VaeEncoder::forward(const at::Tensor& pixels, VaeCache& cache) const {
  cache.rewind();
  at::Tensor x = run(down_, conv_in_.forward(pixels, cache), cache);
  x = norm_out_.forward(middle_->forward(x, cache));
  x = quant_conv_.forward(conv_out_.forward(at::silu_(x), cache), cache);
  cache.chunk_done();
  return x;
}

VaeDecoder::VaeDecoder(const VaeConfig& config, const WeightScope& root) {
  const WeightScope scope = root / "decoder";
  post_quant_conv_ = CausalConv3d(root / "post_quant_conv", config.z_dim, config.z_dim, 1, 1);
  const size_t levels = config.dim_mult.size();
  int64_t channels = config.decoder_dim() * config.dim_mult.back();
  conv_in_ = CausalConv3d(scope / "conv_in", config.z_dim, channels, 3, 3);
  middle_ = std::make_unique<VaeMiddle>(scope / "mid_block", channels);
  for (size_t level = 0; level < levels; ++level) {
    const WeightScope block = scope / "up_blocks" / std::to_string(level);
    const int64_t out = config.decoder_dim() * config.dim_mult[levels - 1 - level];
    const bool last = level + 1 == levels, temporal = !last && config.temporal_downsample[levels - 2 - level];
    if (config.is_residual) {
      up_.emplace_back(VaeUpLevel(block, channels, out, config.num_res_blocks, last, temporal));
      channels = out;
      continue;
    }
    for (int64_t i = 0; i <= config.num_res_blocks; ++i, channels = out)
      up_.emplace_back(VaeResidualBlock(block / "resnets" / std::to_string(i), channels, out));
    if (!last) {
      up_.emplace_back(VaeUpsample(block / "upsamplers.0", channels, channels / 2, temporal));
      channels /= 2;
    }
  }
  norm_out_ = ChannelNorm(scope / "norm_out", channels, false);
  conv_out_ = CausalConv3d(scope / "conv_out", channels, config.pixel_channels(), 3, 3);
}

at::Tensor VaeDecoder::forward(const at::Tensor& latents, VaeCache& cache) const {
  cache.rewind();
  at::Tensor x = conv_in_.forward(post_quant_conv_.forward(latents, cache), cache);
  x = norm_out_.forward(run(up_, middle_->forward(x, cache), cache));
  x = conv_out_.forward(at::silu_(x), cache);
  cache.chunk_done();
  return x;
}

Vae::Vae(const VaeConfig& config, WeightSource& weights, Parts parts)
    : config_(config), placement_(weights.placement()) {
  const int64_t before = weights.held_bytes();
  const WeightScope root{weights, ""};
  encoder_ = std::make_unique<VaeEncoder>(config, root.only_if(parts == Parts::kBoth));
  if (parts == Parts::kDecoder) encoder_.reset();
  decoder_ = std::make_unique<VaeDecoder>(config, root);
  weights.refuse_surplus();
  weights_bytes_ = weights.held_bytes() - before;
}

at::Tensor Vae::statistic(const std::vector<double>& values) const {
  return at::tensor(values).to(at::TensorOptions().device(placement_.device).dtype(at::kFloat)).view({1, -1, 1, 1, 1});
}

at::Tensor Vae::encode(const at::Tensor& pixels) const { return EncodeStream(*this).encode(pixels); }

at::Tensor Vae::EncodeStream::encode(const at::Tensor& pixels) {
  const VaeConfig& config = vae_.config_;
  const int64_t first = cache_.first_chunk() ? 1 : 0;
  check(vae_.encoder_ != nullptr, "vae: the encoder was not loaded");
  check(pixels.dim() == 5 && pixels.size(1) == 3 && pixels.size(2) > 0 && pixels.size(2) % 4 == first &&
            pixels.size(3) % config.spatial_stride() == 0 && pixels.size(4) % config.spatial_stride() == 0,
        "vae encode: expected [batch, 3, {0} + 4k, multiple of {1}, multiple of {1}], got [{2}]", first,
        config.spatial_stride(), fmt::join(pixels.sizes(), ", "));
  const NvtxRange range("vae encode");
  const at::Tensor input =
      pixels_to_channels(pixels.to(vae_.placement_.device, vae_.placement_.dtype), config.patch_size);
  std::vector<at::Tensor> moments;
  for (int64_t begin = 0, end = first > 0 ? 1 : 4; begin < input.size(2); begin = end, end += 4)
    moments.push_back(vae_.encoder_->forward(input.slice(2, begin, end), cache_));
  const at::Tensor mean = at::cat(moments, 2).slice(1, 0, config.z_dim).to(at::kFloat);
  return (mean - vae_.statistic(config.latents_mean)) / vae_.statistic(config.latents_std);
}

at::Tensor Vae::decode(const at::Tensor& latents) const { return Stream(*this).decode(latents); }

at::Tensor Vae::Stream::decode(const at::Tensor& latents) {
  const VaeConfig& config = vae_.config_;
  check(latents.dim() == 5 && latents.size(1) == config.z_dim && latents.size(2) > 0,
        "vae decode: expected [batch, {}, frames, height, width], got [{}]", config.z_dim,
        fmt::join(latents.sizes(), ", "));
  const NvtxRange range("vae decode");
  const at::Tensor wide = latents.to(vae_.placement_.device, at::kFloat);
  const at::Tensor input =
      (wide * vae_.statistic(config.latents_std) + vae_.statistic(config.latents_mean)).to(vae_.placement_.dtype);
  std::vector<at::Tensor> frames;
  for (int64_t i = 0; i < input.size(2); ++i) {
    const at::Tensor patches = vae_.decoder_->forward(input.slice(2, i, i + 1), cache_);
    frames.push_back(channels_to_pixels(patches, config.patch_size).to(at::kFloat).clamp_(-1, 1));
  }
  return at::cat(frames, 2);
}

}  // namespace dualparal
