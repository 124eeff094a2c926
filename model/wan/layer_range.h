// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace dualparal {

/// Transformer layers [begin, end) that a rank holds.
struct LayerRange {
  int64_t begin = 0;
  int64_t end = 0;

  bool contains(int64_t layer) const { return begin <= layer && layer < end; }
  int64_t size() const { return end - begin; }
};

}  // namespace dualparal
