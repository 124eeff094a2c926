// SPDX-License-Identifier: Apache-2.0
// What a strategy costs by its formula, to hold recorded figures against.
#pragma once

#include <cstdint>

#include "model/wan/config.h"
#include "strategy/denoise/request.h"

namespace dualparal {

/// The sizes that the formulas are made of.
struct Workload {
  int64_t batch = 1;           ///< 2 with guidance
  int64_t frame_tokens = 0;    ///< of one latent frame
  int64_t tokens = 0;          ///< of the whole video
  int64_t dim = 0, layers = 0, heads = 0;
  int64_t steps = 0;
  int64_t element_bytes = 4;   ///< of hidden states, keys and values
  int64_t token_bytes = 0;     ///< of a token's prediction, fp32
  int64_t patch_channels = 0;  ///< numbers in a token's prediction
  int64_t layer_weights = 0;   ///< numbers in the matrices of one layer
  int64_t other_weights = 0;   ///< in the matrices of time and text, which every rank holds

  /// Hidden states of so many tokens, both guidance halves.
  double hidden_bytes(double count) const {
    return static_cast<double>(batch * dim * element_bytes) * count;
  }
  /// Weights of a rank with so many layers.
  double weights_bytes(int64_t held_layers) const {
    return static_cast<double>((held_layers * layer_weights + other_weights) * element_bytes);
  }
};

Workload workload(const Request& request, const TransformerConfig& config, int64_t element_bytes);

struct AnalyticCost {
  double sent_bytes = 0;       ///< by all ranks, in the whole run
  double weights_bytes = 0;    ///< on the rank that holds most
  double key_value_bytes = 0;  ///< keys and values of one layer's self-attention on a rank at a time, at most
};

}  // namespace dualparal
