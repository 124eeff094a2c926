// SPDX-License-Identifier: Apache-2.0
// Self-attention that also sees frames of neighbouring blocks that are no queries of its own, through keys and values
// kept from the moment when those blocks went through the same layer: the next block's first frames, kept earlier in
// the same iteration, and with `matched_kv` the previous block's last frames, kept in the iteration before.
#pragma once

#include <map>

#include "dualparal/host_tails.h"
#include "model/ops/rotary.h"
#include "model/ops/self_attention.h"
#include "model/wan/layer_range.h"
#include "strategy/parallel/ranges.h"
#include "strategy/snapshot/run_state.h"

namespace dualparal {

/// Which part of a video's keys and values a rank keeps.
struct CachePart {
  Range batch;  ///< of a micro-batch: halves of guidance
  Range heads;
  bool normalised;  ///< keys come normalised: where ranks split heads, the norm over all of them is before
};

class FeatureCache final : public SelfAttention {
 public:
  using KeyValue = dualparal::KeyValue;
  using Layers = HostTails::Layers;

  /// What attend() will be called for next.
  struct Job {
    TokenGrid grid = {};  ///< of the window
    int64_t block = 0;
    int64_t first_position = 0;  ///< of the window's first frame among those that it sees: frames seen before it
    int64_t offset = 0;          ///< temporal position of the first frame seen
    Range head = {};  ///< frames of the window whose keys and values the job after this one sees behind its own
    Range tail = {};  ///< those that the next block sees before its own, in the next iteration
    bool next_sees_tail = false;  ///< whether the job after this one sees a tail, that of block `next_block` - 1
    int64_t next_block = 0;
  };

  /// host: keeps the tails, of all micro-batches, in host memory; none: they are on the device.
  explicit FeatureCache(const RotaryEmbedding& rotary, HostTails* host = nullptr, int64_t micro_batch = 0)
      : rotary_(rotary), host_(host), micro_batch_(micro_batch) {}

  void begin_job(const Job& job) { job_ = job; }
  /// A new iteration: the block at the tail of the queue sees no next block.
  void clear() { heads_.clear(); }

  at::Tensor attend(const AttentionInput& input) override;

  /// What is kept for the next job, by layer.
  const Layers& heads() const { return heads_; }
  /// What is kept for the next iteration, by block and layer. Each is used once.
  const HostTails::Blocks& tails() const { return host_ ? host_->kept(micro_batch_) : tails_; }

  /// Adds what is kept for the next iteration to a kept state, under names that begin with `name`. Copied is only what
  /// lies in host memory, where its place is written again.
  void keep(const std::string& name, const CachePart& part, RunState& state) const;
  /// Puts back this rank's part for the layers in which it attends, from whichever ranks kept pieces of it; what it
  /// kept itself comes first. Error that names block and layer if something of it was not kept, and where keys were
  /// kept normalised and are not to be, or the other way round.
  void restore(const std::string& name, const SavedRun& kept, int64_t rank, const CachePart& part,
               const std::vector<int64_t>& layers, const at::Device& device);

 private:
  KeyValue frames_of(const at::Tensor& key, const at::Tensor& value, const Range& frames) const;
  int64_t tail_tokens() const { return job_.first_position * job_.grid.frame_tokens(); }
  KeyValue take_previous(int64_t layer);
  KeyValue in_host_buffer(const AttentionInput& input, KeyValue next);
  KeyValue together(const AttentionInput& input, KeyValue previous, KeyValue next, const KeyValue& given);
  const RotaryTable& positions(int64_t first_frame, const at::Tensor& key);

  const RotaryEmbedding& rotary_;
  HostTails* host_;
  int64_t micro_batch_;
  Job job_;
  Layers heads_;
  HostTails::Blocks tails_;
  std::map<std::pair<int64_t, int64_t>, RotaryTable> tables_;  // by first position and number of cached frames
};

}  // namespace dualparal
