// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace dualparal {

/// A half-open range: of latent frames, tokens, heads, ...
struct Range {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

/// What two ranges have in common; empty if nothing.
inline Range intersection(const Range& a, const Range& b) {
  const int64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

/// `total` things over `count` owners, in order, as evenly as they go: the first ones get one more.
inline std::vector<Range> even_ranges(int64_t total, int64_t count) {
  std::vector<Range> ranges;
  for (int64_t i = 0, begin = 0; i < count; ++i) {
    const int64_t size = total / count + (i < total % count ? 1 : 0);
    ranges.push_back({begin, begin + size});
    begin += size;
  }
  return ranges;
}

}  // namespace dualparal
