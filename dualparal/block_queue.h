// SPDX-License-Identifier: Apache-2.0
// The blocks under way, on stage 0: their latents, samplers and windows. Knows nothing of ranks.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "dualparal/block_plan.h"
#include "dualparal/noise_pool.h"
#include "model/sampling/sampler.h"
#include "strategy/denoise/latents_sink.h"
#include "strategy/snapshot/run_state.h"

namespace dualparal {

/// How a block sees the block before it.
enum class PreviousContext {
  kSynchronous,       ///< its latents, one update ahead
  kMatched,           ///< its latents at this block's own noise level
  kMatchedKeyValues,  ///< its cached keys and values at this block's own noise level
};

/// What temporal positions are counted from. All frames of a window and those cached for it move together, and only
/// distances enter self-attention: the choice changes rounding and nothing else (docs/strategies.md).
enum class WindowPosition {
  kLocal,     ///< the first frame that the window sees is 0
  kShifted,   ///< the same, but 1 in every window that does not begin the video
  kAbsolute,  ///< the first frame of the video is 0
};

/// Where the step of a block and that of the block behind it are of different experts, whose features are of different
/// kinds: what the block sees of the block behind, instead of features that the other expert made.
enum class BoundaryCache {
  kRecompute,  ///< its frames, recomputed in the block's own window at the block's own noise level
  kNone,       ///< nothing
  kMixed,      ///< the other expert's features all the same
};

/// What a block sees of its neighbours (docs/strategies.md).
struct ContextOptions {
  int64_t context_frames = 0;  ///< of either side
  bool feature_cache = true;   ///< next block by cached keys and values; else by its frames, recomputed
  PreviousContext previous = PreviousContext::kSynchronous;
  WindowPosition position = WindowPosition::kLocal;
  BoundaryCache boundary = BoundaryCache::kRecompute;
  int64_t features_change_at = 0;  ///< this and later steps are another expert's; as many as there are: none is

  /// Whether a block at this age and the block behind it, one step younger, are on different sides of the boundary.
  bool crosses(int64_t age) const { return age == features_change_at; }
  /// Whether a block at this age sees the features of the block behind.
  bool sees_features(int64_t age) const {
    return feature_cache && (!crosses(age) || boundary == BoundaryCache::kMixed);
  }
  /// Whether it sees its frames, recomputed.
  bool sees_frames(int64_t age) const {
    return !feature_cache || (crosses(age) && boundary == BoundaryCache::kRecompute);
  }

  /// Whether a window waits for the last update of the block before.
  bool previous_updated() const { return context_frames > 0 && previous == PreviousContext::kSynchronous; }
  bool previous_cached() const { return previous == PreviousContext::kMatchedKeyValues; }
};

/// Frames of a block's window: [previous context | own | next context]; the first part not if it is cached, the last
/// part only without feature cache.
struct Window {
  int64_t previous = 0, own = 0, next = 0;
  int64_t previous_cached = 0;  ///< frames before the window that are seen by their cached keys and values
  int64_t frames() const { return previous + own + next; }
};
Window window_of(const Blocks& blocks, const QueueEntry& entry, const ContextOptions& options);

/// Temporal position of the first frame that the window sees, cached or its own.
int64_t position_offset(const Blocks& blocks, const QueueEntry& entry, const ContextOptions& options);

class BlockQueue {
 public:
  using MakeSampler = std::function<std::unique_ptr<Sampler>()>;
  using MakeNoise = std::function<BlockNoise(int64_t video)>;
  BlockQueue(const Blocks& blocks, ContextOptions options, int64_t steps, MakeNoise make_noise,
             MakeSampler make_sampler, at::Device device);

  /// Latents that go into the transformer, [1, channels, window frames, h, w]. Appends the block if it is new.
  at::Tensor window(const QueueEntry& entry);
  /// Takes the block one step further; if it was the last, hands its latents to `sink`.
  void apply(const QueueEntry& entry, const at::Tensor& prediction, LatentsSink& sink);

  /// Adds what a block is after its last step to a kept state. Nothing is copied: no tensor of it changes later.
  void keep(int64_t block, RunState& state) const;
  /// Puts back a block of a kept state. Noise of the blocks up to it is not drawn any more.
  void restore(int64_t block, const RunState& state);

 private:
  struct State {
    at::Tensor latents;    // newest, [1, channels, own frames, h, w] fp32
    at::Tensor submitted;  // as they were in the block's last window
    std::unique_ptr<Sampler> sampler;
  };

  BlockNoise& noise_for(const Block& block);

  Blocks blocks_;
  ContextOptions options_;
  int64_t steps_;
  MakeNoise make_noise_;
  std::optional<BlockNoise> noise_;  // of the video whose blocks are being drawn
  MakeSampler make_sampler_;
  at::Device device_;
  std::map<int64_t, State> states_;
  int64_t drawn_ = 0;  // blocks whose noise was drawn
};

}  // namespace dualparal
