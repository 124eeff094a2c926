// SPDX-License-Identifier: Apache-2.0
// Keys and values of blocks' last frames in host memory, from one iteration to the next: written there behind the layer
// that made them, and fetched ahead of the layer that sees them, each straight to where attention reads it. The device
// holds those of two layers at a time, however many blocks are in the queue.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "dualparal/host_copies.h"

namespace dualparal {

/// What self-attention sees of some tokens.
struct KeyValue {
  at::Tensor key;    ///< [batch, tokens, heads, head_dim] neither normalised nor rotated
  at::Tensor value;  ///< [batch, tokens, heads, head_dim]
};

/// Room in host memory for the tails of as many blocks and layers as are kept at a time, taken once.
class HostSlots {
 public:
  /// shape: of a tail's keys, [batch, tokens, heads, head_dim].
  HostSlots(int64_t count, const std::vector<int64_t>& shape, at::ScalarType dtype, const at::Device& device);

  KeyValue take();
  void give_back(KeyValue slot) { free_.push_back(std::move(slot)); }
  const std::vector<int64_t>& shape() const { return shape_; }

 private:
  std::vector<int64_t> shape_;
  std::vector<KeyValue> free_;
};

class HostTails {
 public:
  using Layers = std::map<int64_t, KeyValue>;
  using Blocks = std::map<int64_t, Layers>;
  /// Whose tail, and of which layer.
  struct Place {
    int64_t micro_batch = 0, block = 0, layer = 0;
    auto operator<=>(const Place&) const = default;
  };

  /// Both must outlive it. layers: those of this rank that attend, in order. most_tokens: that any window sees, with
  /// all that is cached for it.
  HostTails(HostSlots& slots, HostCopies& copies, int64_t micro_batches, std::vector<int64_t> layers,
            int64_t most_tokens)
      : slots_(slots),
        copies_(copies),
        kept_(static_cast<size_t>(micro_batches)),
        layers_(std::move(layers)),
        most_tokens_(most_tokens) {}
  ~HostTails();
  HostTails(const HostTails&) = delete;
  HostTails& operator=(const HostTails&) = delete;

  /// Where a layer's keys and values are put together, like `like` but of so many tokens; good until the call after
  /// next. seen: the tail that its first tokens hold, if it was kept; then it is used. Error if it was not.
  KeyValue begin_layer(const at::Tensor& like, int64_t tokens, const Place* seen);
  /// Keeps a tail. key: of any strides; value: in what begin_layer() gave.
  void keep(const Place& place, const KeyValue& tail);
  /// Begins to fetch what the layer behind `place` sees: the next of a job that sees the tail of `place.block`, or the
  /// first of the job behind it, which sees that of `then`. -1: none.
  void fetch_behind(const Place& place, int64_t then);

  /// What is kept, by block and layer, of a micro-batch. Waits for what is under way.
  const Blocks& kept(int64_t micro_batch);
  /// Puts back a tail that was kept elsewhere.
  void restore(const Place& place, const KeyValue& tail);

 private:
  bool fetch(const Place& place);
  KeyValue& buffer(size_t which, const at::Tensor& like);
  KeyValue first_tokens(const KeyValue& buffer, int64_t tokens) const;

  HostSlots& slots_;
  HostCopies& copies_;
  std::vector<Blocks> kept_;  // by micro-batch
  std::vector<int64_t> layers_;
  int64_t most_tokens_;
  std::array<KeyValue, 2> buffers_;  // [batch, most tokens, heads, head_dim], of layers in turn
  size_t current_ = 0;
  at::Tensor staged_key_;         // on its way to the host
  std::optional<Place> fetched_;  // whose tail the other buffer has
};

}  // namespace dualparal
