// SPDX-License-Identifier: Apache-2.0
// What a transformer layer is made of. Stages of a pipeline may begin and end between, and within, these.
#pragma once

#include <array>
#include <cstdint>

namespace dualparal {

/// In the order in which they run.
enum LayerPart : int64_t { kSelfAttention, kCrossAttention, kFeedForward, kLayerParts };

inline constexpr std::array<const char*, kLayerParts> kLayerPartNames = {"self-attention", "cross-attention",
                                                                         "feed-forward"};

}  // namespace dualparal
