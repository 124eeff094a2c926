// SPDX-License-Identifier: Apache-2.0
#include "strategy/plan.h"

#include <algorithm>

namespace dualparal {

double Workload::weights_bytes(const LayerRange& held) const {
  const int64_t dim = config.dim();
  const int64_t of_part[kLayerParts] = {4 * dim * dim, dim * (4 * dim + 2 * config.added_kv_proj_dim),
                                        2 * dim * config.ffn_dim};
  int64_t layers = 0;
  for (int64_t layer = held.begin; layer < held.end; ++layer)
    for (int64_t part = 0; part < kLayerParts; ++part)
      if (held.holds(layer, part)) layers += of_part[part];
  const int64_t time_and_text = dim * (config.freq_dim + 8 * dim + config.text_dim);  // which every rank holds
  return static_cast<double>(experts * (layers + time_and_text) * element_bytes);
}

Workload workload(const Request& request, const TransformerConfig& config, int64_t element_bytes, int64_t world_size) {
  const auto& patch = config.patch_size;
  Workload work;
  work.config = config;
  work.world_size = world_size;
  work.latent_frames = request.latent_frames;
  work.steps = request.num_inference_steps;
  work.batch = request.guided() ? 2 : 1;
  work.frame_tokens = (request.latent_height / patch[1]) * (request.latent_width / patch[2]);
  work.tokens = request.latent_frames / patch[0] * work.frame_tokens;
  work.element_bytes = element_bytes;
  work.experts = request.experts();
  work.features_change_at =
      second_expert_from(request, make_schedule(request.sampler, request.scheduler, request.num_inference_steps));
  if (request.prompt_embeds.defined()) work.text_tokens = request.prompt_embeds.size(1);
  if (request.image_embeds.defined()) work.image_tokens = request.image_embeds.size(1);
  work.from_image = config.condition_channels() > 0 || request.first_frame.defined();
  work.patch_channels = config.out_channels * patch[0] * patch[1] * patch[2];
  return work;
}

std::vector<Link> StrategyPlan::links() const {
  std::vector<Link> out;
  for (const Traffic& one : traffic)
    if (one.bytes > 0) out.push_back(one.link);
  std::ranges::sort(out);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

StrategyPlan StrategyPlan::repeated(int64_t times) const {
  StrategyPlan all = *this;
  for (Traffic& one : all.traffic) one.bytes *= static_cast<double>(times);
  if (all.slots) all.slots = SlotCount{times * slots->work, times * slots->idle};
  return all;
}

std::vector<TransformerParts> whole_model(const Workload& work) {
  const TransformerParts all{{0, work.config.num_layers}, true, true};
  return std::vector<TransformerParts>(static_cast<size_t>(work.world_size), all);
}

AnalyticCost analytic_cost(const StrategyPlan& plan, const Workload& work) {
  AnalyticCost cost;
  for (const Traffic& one : plan.traffic) cost.sent_bytes += one.bytes;
  for (const TransformerParts& parts : plan.parts)
    cost.weights_bytes = std::max(cost.weights_bytes, work.weights_bytes(parts.layers));
  cost.key_value_bytes = 2 * work.hidden_bytes(plan.key_value_tokens);
  return cost;
}

}  // namespace dualparal
