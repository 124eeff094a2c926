// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>

#include "base/layer_part.h"
#include "model/ops/frame_sight.h"

namespace dualparal {

/// How far a layer is done: the parts before `part` for all tokens, `part` itself for the first `permille` of them.
struct LayerCut {
  int64_t part = 0;      ///< LayerPart; kLayerParts: the whole layer
  int64_t permille = 0;  ///< 0..999
  auto operator<=>(const LayerCut&) const = default;
};

/// A place in the transformer, between two parts or within one.
struct LayerPosition {
  int64_t layer = 0;
  LayerCut cut = {};  ///< of the layer
  auto operator<=>(const LayerPosition&) const = default;
};

/// Which tokens of a window go through which part of a layer here.
using LayerShare = std::array<TokenSpan, kLayerParts>;

/// The transformer's layers that a rank holds: [begin, end), of which the first and the last may be shared with the
/// ranks before and behind it.
struct LayerRange {
  int64_t begin = 0;
  int64_t end = 0;
  LayerCut from = {};              ///< of layer `begin`: done by the rank before
  LayerCut to = {kLayerParts, 0};  ///< of layer `end` - 1: done when this rank is done

  static LayerRange between(const LayerPosition& first, const LayerPosition& last) {
    if (last.cut == LayerCut{}) return {first.layer, last.layer, first.cut};
    return {first.layer, last.layer + 1, first.cut, last.cut};
  }

  bool contains(int64_t layer) const { return begin <= layer && layer < end; }
  int64_t size() const { return end - begin; }
  bool whole_layers() const { return from == LayerCut{} && to == LayerCut{kLayerParts, 0}; }
  /// Whether any tokens go through a part of a layer here.
  bool holds(int64_t layer, int64_t part) const { return share(layer, 1000).at(static_cast<size_t>(part)).size() > 0; }
  LayerShare share(int64_t layer, int64_t tokens) const {
    LayerShare share;
    for (int64_t part = 0; part < kLayerParts; ++part)
      share.at(static_cast<size_t>(part)) = {layer == begin ? done(from, part, tokens) : 0, !contains(layer) ? 0
                                                                                            : layer == end - 1
                                                                                                ? done(to, part, tokens)
                                                                                                : tokens};
    return share;
  }

  /// Tokens that are sent twice where a self-attention is shared: those that are through it travel beside all tokens
  /// as they went in, which the others still need as keys and values. Received, and sent on, for a window.
  int64_t carried_in(int64_t tokens) const { return from.part == kSelfAttention ? done(from, 0, tokens) : 0; }
  int64_t carried_out(int64_t tokens) const { return to.part == kSelfAttention ? done(to, 0, tokens) : 0; }

 private:
  // A part that is shared is shared by every window, as far as it has tokens: what some windows' keys and values are
  // kept for, others must not leave out.
  static int64_t done(const LayerCut& cut, int64_t part, int64_t tokens) {
    if (part != cut.part || cut.permille == 0) return part < cut.part ? tokens : 0;
    return std::max(tokens * cut.permille / 1000, std::min<int64_t>(1, tokens - 1));
  }
};

}  // namespace dualparal
