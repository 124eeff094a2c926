// SPDX-License-Identifier: Apache-2.0
// UMT5 text encoder (transformers: UMT5EncoderModel).
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "model/ops/layers.h"
#include "model/wan/config.h"

namespace dualparal {

class TextEncoder {
 public:
  TextEncoder(const TextEncoderConfig& config, WeightSource& weights);

  int64_t weights_bytes() const { return weights_bytes_; }

  /// Token ids of one prompt -> [1, length, d_model], zeros after the prompt's own tokens, as the Wan pipeline
  /// does it. Padding never influences the prompt's own tokens, so none is computed.
  at::Tensor encode(const std::vector<int64_t>& token_ids, int64_t length) const;

 private:
  struct Layer {
    at::Tensor attention_norm, feed_forward_norm;  // [d_model]
    Linear qkv, out, gate_and_up, down;
    at::Tensor position_bias;  // [buckets, heads]
  };
  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight) const;

  TextEncoderConfig config_;
  Placement placement_;
  int64_t weights_bytes_ = 0;
  at::Tensor embedding_;  // [vocab_size, d_model]
  std::vector<Layer> layers_;
  at::Tensor final_norm_;
};

}  // namespace dualparal
