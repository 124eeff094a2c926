// SPDX-License-Identifier: Apache-2.0
#include "strategy/parallel/partition.h"

#include <algorithm>

#include "base/errors.h"

namespace dualparal {

std::vector<TransformerParts> partition(const TransformerConfig& config, int64_t world_size) {
  check_usage(1 <= world_size && world_size <= config.num_layers,
              "a model of {} layers cannot be split over {} ranks: each needs a layer at least", config.num_layers,
              world_size);
  // Products with weights, per token; attention over the tokens comes on top and makes embedding and head smaller yet.
  const double dim = static_cast<double>(config.dim());
  const double layer = dim * (6 * dim + 2 * static_cast<double>(config.ffn_dim));
  const double patch = static_cast<double>(config.patch_size[0] * config.patch_size[1] * config.patch_size[2]);
  std::vector<double> cost(world_size, 0.0);
  cost.front() += static_cast<double>(config.in_channels) * patch * dim / layer;
  cost.back() += static_cast<double>(config.out_channels) * patch * dim / layer;

  std::vector<int64_t> layers(world_size, 1);
  for (double& c : cost) c += 1;
  for (int64_t left = config.num_layers - world_size; left > 0; --left) {
    const auto least = std::min_element(cost.begin(), cost.end()) - cost.begin();
    ++layers[least];
    cost[least] += 1;
  }
  std::vector<TransformerParts> parts;
  int64_t begin = 0;
  for (int64_t stage = 0; stage < world_size; ++stage) {
    parts.push_back({{begin, begin + layers[stage]}, stage == 0, stage == world_size - 1});
    begin += layers[stage];
  }
  return parts;
}

}  // namespace dualparal
