// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "model/wan/config.h"
#include "model/wan/transformer.h"

namespace dualparal {

/// Splits the layers over `world_size` stages, in order, so that the slowest stage has the least work. Embedding and
/// head count as the share of a layer that their weights are; of several best splits, the one whose first and last
/// stages hold the fewest layers. UsageError with fewer layers than stages.
std::vector<TransformerParts> partition(const TransformerConfig& config, int64_t world_size);

}  // namespace dualparal
