// SPDX-License-Identifier: Apache-2.0
#include "model/ops/attention.h"

#include <ATen/SDPBackend.h>

#include <utility>

#include "base/errors.h"
#include "model/ops/attention_kernel.h"
#include "model/ops/ops.h"

namespace dualparal {
namespace {

// Attention and its log-sum-exp by the kernel that the device has for it; all tensors [batch, heads, tokens, head_dim].
std::pair<at::Tensor, at::Tensor> attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  if (query.is_cpu() || query.is_meta()) {  // meta tensors: every fused kernel has this one's shapes
    const auto [output, weight] = at::_scaled_dot_product_flash_attention_for_cpu(query, key, value);
    return {output, weight};
  }
  switch (static_cast<at::SDPBackend>(at::_fused_sdp_choice(query, key, value))) {
    case at::SDPBackend::cudnn_attention: {
      const auto all = at::_scaled_dot_product_cudnn_attention(query, key, value, {}, /*compute_log_sumexp=*/true);
      return {std::get<0>(all), std::get<1>(all).reshape({query.size(0), query.size(1), query.size(2)})};
    }
    case at::SDPBackend::flash_attention: {
      const auto all = at::_scaled_dot_product_flash_attention(query, key, value);
      return {std::get<0>(all), std::get<1>(all)};
    }
    default: {
      const auto all = at::_scaled_dot_product_efficient_attention(query, key, value, {}, /*compute_log_sumexp=*/true);
      return {std::get<0>(all), std::get<1>(all).slice(2, 0, query.size(2))};  // that kernel pads the tokens
    }
  }
}

}  // namespace

at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  // Asked for meta tensors, LibTorch would take the way without a fused kernel.
  if (query.is_meta()) return std::get<0>(at::_scaled_dot_product_flash_attention_for_cpu(query, key, value));
  return at::scaled_dot_product_attention(query, key, value);
}

std::string attention_kernel(const at::Device& device, at::ScalarType dtype, int64_t head_dim) {
  if (device.is_meta()) return "none";
  if (device.is_cpu()) return "flash_for_cpu";
  constexpr int64_t kTokens = 128;
  const at::Tensor one = at::empty({1, 1, kTokens, head_dim}, at::TensorOptions().device(device).dtype(dtype));
  switch (static_cast<at::SDPBackend>(at::_fused_sdp_choice(one, one, one))) {
    case at::SDPBackend::cudnn_attention:
      return "cudnn";
    case at::SDPBackend::flash_attention:
      return "flash";
    case at::SDPBackend::efficient_attention:
      return "efficient";
    default:
      return "math";
  }
}

WeightedAttention weighted_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const auto [output, weight] = attend(query, key, value);
  return {output, weight.unsqueeze(-1).to(at::kFloat)};
}

void PartialAttention::add(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, double bias) {
  if (key.size(1) == 0) return;
  const auto [output, weight_of_scores] =
      weighted_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2));
  const at::Tensor weight = bias == 0 ? weight_of_scores : weight_of_scores + bias;
  if (!output_.defined()) {
    dtype_ = query.scalar_type();
    output_ = output;
    weight_ = weight;
    return;
  }
  output_ = output_.to(at::kFloat);
  at::Tensor all = output_.transpose(1, 2), all_weight = weight_.transpose(1, 2);
  merge_attention_(all, all_weight, output.transpose(1, 2), weight.transpose(1, 2));
}

at::Tensor PartialAttention::result() const {
  check(output_.defined(), "attention over no keys");
  return output_.to(dtype_).transpose(1, 2);
}

}  // namespace dualparal
