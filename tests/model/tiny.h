// SPDX-License-Identifier: Apache-2.0
// Tiny configurations with odd numbers, and random weights of their shapes.
#pragma once

#include "model/wan/transformer.h"
#include "model/wan/vae.h"
#include "tests/testing.h"

namespace dualparal::testing {

inline TransformerConfig tiny_transformer() {
  TransformerConfig config;
  config.num_attention_heads = 3;
  config.attention_head_dim = 20;
  config.in_channels = config.out_channels = 16;
  config.text_dim = 24;
  config.freq_dim = 32;
  config.ffn_dim = 70;
  config.num_layers = 5;
  return config;
}

inline VaeConfig tiny_vae() {
  VaeConfig config;
  config.base_dim = 4;
  config.num_res_blocks = 1;
  config.latents_mean = std::vector<double>(16, 0.1);
  config.latents_std = std::vector<double>(16, 1.5);
  return config;
}

inline std::unique_ptr<WeightSource> tiny_weights(at::ScalarType dtype = at::kFloat) {
  return random_weights(7, {at::kCPU, dtype});
}

/// Normal numbers so large that every weight (norms and biases too) is seen in the result, the same for the same name.
class LargeWeights final : public WeightSource {
 public:
  /// variant: other numbers for the same names.
  explicit LargeWeights(at::ScalarType dtype = at::kFloat, std::string variant = "")
      : WeightSource({at::kCPU, dtype}), variant_(std::move(variant)) {}
  void read_into(const std::string& name, at::Tensor target) override {
    target.copy_(randn(target.sizes(), std::hash<std::string>{}(name + variant_)) * 0.3);
  }
  void skip(const std::string&, at::IntArrayRef) override {}
  bool contains(const std::string&) const override { return false; }
  void refuse_surplus() const override {}

 private:
  std::string variant_;
};

/// The second of two experts, beside one of LargeWeights.
inline LargeWeights second_weights(at::ScalarType dtype = at::kFloat) { return LargeWeights(dtype, " of the second"); }

}  // namespace dualparal::testing
