// SPDX-License-Identifier: Apache-2.0
// Video-Infinity's self-attention: a clip's frames see their own clip, frames of the neighbours and some of the whole
// video, whose keys and values other ranks send.
#pragma once

#include <optional>
#include <vector>

#include "model/ops/self_attention.h"
#include "strategy/parallel/exchange.h"
#include "strategy/parallel/ranges.h"

namespace dualparal {

/// Frames that a clip's self-attention sees besides its own.
struct Sight {
  std::vector<int64_t> local;   ///< of the neighbours
  std::vector<int64_t> global;  ///< of the whole video, without those it sees already
};

Sight sight_of(const Range& clip, int64_t frames, int64_t context_frames, int64_t global_frames);
/// Those of `frames` that are in `clip`.
std::vector<int64_t> frames_within(const std::vector<int64_t>& frames, const Range& clip);

/// Added to the scores of local keys (own and neighbours') and global keys.
struct ScopeBias {
  double local = 0, global = 0;
};

class DualScopeAttention final : public SelfAttention {
 public:
  /// clips, sights: by rank.
  DualScopeAttention(Exchange& exchange, std::vector<Range> clips, std::vector<Sight> sights, int64_t frame_tokens)
      : exchange_(exchange), clips_(std::move(clips)), sights_(std::move(sights)), frame_tokens_(frame_tokens) {}

  /// Keys travel as they are and are turned where they arrive, by these positions of sights' local and global frames;
  /// without them, by their owner's positions before they travel.
  void place_on_arrival(RotaryTable local, RotaryTable global) { placed_ = {std::move(local), std::move(global)}; }
  void set_bias(const ScopeBias& bias) { bias_ = bias; }
  at::Tensor attend(const AttentionInput& input) override;

 private:
  // Keys and values on their way from another rank, [2, batch, tokens, heads, head_dim]: local ones first.
  struct Arriving {
    Exchange::Incoming message;
    int64_t local_tokens;
  };
  std::vector<Arriving> receive(const at::Tensor& key);
  void send(const at::Tensor& key, const at::Tensor& value);
  at::Tensor tokens_of(const at::Tensor& x, const std::vector<int64_t>& frames) const;

  Exchange& exchange_;
  std::vector<Range> clips_;
  std::vector<Sight> sights_;
  int64_t frame_tokens_;
  ScopeBias bias_;
  struct Placed {
    RotaryTable local, global;
  };
  std::optional<Placed> placed_;
};

}  // namespace dualparal
