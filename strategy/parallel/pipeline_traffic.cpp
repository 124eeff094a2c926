// SPDX-License-Identifier: Apache-2.0
#include "strategy/parallel/pipeline_traffic.h"

namespace dualparal {

std::vector<Traffic> pipeline_traffic(const Workload& work, double hidden_tokens, double predicted_tokens) {
  std::vector<Traffic> traffic;
  if (work.world_size == 1) return traffic;
  for (int64_t rank = 0; rank + 1 < work.world_size; ++rank)
    traffic.push_back({{rank, rank + 1, Channel::kForward}, work.hidden_bytes(hidden_tokens)});
  traffic.push_back({{work.world_size - 1, 0, Channel::kReturn}, work.prediction_bytes(predicted_tokens)});
  return traffic;
}

}  // namespace dualparal
