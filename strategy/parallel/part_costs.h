// SPDX-License-Identifier: Apache-2.0
// What the parts of a transformer layer cost, counted by running one layer on shapes alone.
#pragma once

#include <array>

#include "strategy/plan.h"

namespace dualparal {

/// What usually goes through the layers at a time.
struct TypicalWindow {
  int64_t tokens = 0;  ///< that go through all parts
  int64_t seen = 0;    ///< tokens whose keys and values self-attention sees, those included
};

/// In floating-point operations of a matrix product that would take the device as long.
struct PartCosts {
  std::array<double, kLayerParts> parts = {};
  double key_value = 0;  ///< of self-attention: what it takes even where it is made for few tokens, keys and values
  double embed = 0, head = 0;

  double layer() const { return parts[0] + parts[1] + parts[2]; }
  /// Of a rank that holds `held`.
  double of(const TransformerParts& held) const;
};

/// Products, attention, what element-wise operations and the cache move, and the calls themselves. Traced once in a
/// process for each workload and window.
PartCosts trace_part_costs(const Workload& work, const TypicalWindow& window);

}  // namespace dualparal
