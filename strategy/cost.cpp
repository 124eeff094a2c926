// SPDX-License-Identifier: Apache-2.0
#include "strategy/cost.h"

namespace dualparal {

Workload workload(const Request& request, const TransformerConfig& config, int64_t element_bytes) {
  const auto& patch = config.patch_size;
  Workload work;
  work.batch = request.guided() ? 2 : 1;
  work.frame_tokens = (request.latent_height / patch[1]) * (request.latent_width / patch[2]);
  work.tokens = request.latent_frames / patch[0] * work.frame_tokens;
  work.dim = config.dim();
  work.layers = config.num_layers;
  work.heads = config.num_attention_heads;
  work.steps = request.num_inference_steps;
  work.element_bytes = element_bytes;
  work.patch_channels = config.out_channels * patch[0] * patch[1] * patch[2];
  work.token_bytes = work.patch_channels * 4;
  work.layer_weights = config.dim() * (8 * config.dim() + 2 * config.ffn_dim);
  work.other_weights = config.dim() * (config.freq_dim + 8 * config.dim() + config.text_dim);
  return work;
}

}  // namespace dualparal
