// SPDX-License-Identifier: Apache-2.0
// How a transformer is split over the stages of a pipeline.
#pragma once

#include <string>
#include <vector>

#include "model/wan/config.h"
#include "model/wan/transformer.h"
#include "strategy/options.h"
#include "strategy/parallel/part_costs.h"

namespace dualparal {

/// Splits the layers over `stages`, in order, so that the slowest stage has the least work. Embedding and
/// head count as the share of a layer that their weights are; of several best splits, the one whose first and last
/// stages hold the fewest layers. UsageError with fewer layers than stages.
std::vector<TransformerParts> partition(const TransformerConfig& config, int64_t stages);

/// So that the most expensive stage costs as little as can be, within a hundredth: stages begin with a whole layer
/// where that is as good, else between a layer's parts, else share a part, each making it for some of the tokens. A
/// self-attention that is shared costs its keys and values twice.
/// UsageError for more stages than two for each layer.
std::vector<TransformerParts> balanced_partition(const TransformerConfig& config, int64_t stages,
                                                 const PartCosts& costs);

/// Where all stages but the first begin: "3,7:cross,10:ffn:0.4" are layer 3; layer 7 from cross-attention on; layer 10
/// from its feed-forward part on, of which the first 0.4 of the tokens are the stage's before. UsageError for anything
/// else.
std::vector<TransformerParts> given_partition(const TransformerConfig& config, int64_t stages,
                                              const std::string& starts);

/// The same in words of given_partition(): "3,7:cross".
std::string stage_starts(const std::vector<TransformerParts>& stages);

/// The flag --partition: "layers", "balanced" or what given_partition() takes.
struct PartitionOption {
  std::string how = "layers";
  void declare(OptionSet& set);
  /// window: what usually goes through the stages.
  std::vector<TransformerParts> stages(const Workload& work, int64_t count, const TypicalWindow& window) const;
};

}  // namespace dualparal
