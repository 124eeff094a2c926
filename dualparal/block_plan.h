// SPDX-License-Identifier: Apache-2.0
// Which frames are a block, and the order in which blocks go through the pipeline. Both are worked out place by place,
// not kept: a video may have no end.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dualparal {

/// Latent frames [begin, end) of a video.
struct Block {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t video = 0;  ///< of a list
  int64_t frames() const { return end - begin; }
  bool begins_video() const { return begin == 0; }
};

/// Something whose i-th element is computed: for loops over it.
template <class Row>
struct RowIterator {
  const Row* row;
  size_t place;
  auto operator*() const { return (*row)[place]; }
  RowIterator& operator++() {
    ++place;
    return *this;
  }
  bool operator!=(const RowIterator& other) const { return place != other.place; }
};

class Blocks {
 public:
  Blocks(int64_t latent_frames, int64_t block_frames, int64_t context_frames, int64_t videos = 1)
      : frames_(latent_frames), block_frames_(block_frames), context_frames_(context_frames), videos_(videos) {}

  size_t size() const { return of_video() * static_cast<size_t>(videos_); }
  Block operator[](size_t block) const;
  Block back() const { return (*this)[size() - 1]; }
  RowIterator<Blocks> begin() const { return {this, 0}; }
  RowIterator<Blocks> end() const { return {this, size()}; }
  /// Whether another block of the same video comes behind this one.
  bool has_successor(int64_t block) const;

 private:
  size_t of_video() const;

  int64_t frames_, block_frames_, context_frames_, videos_;
};

/// Of so many videos, one behind the other. A video's first block holds block_frames + context_frames latent frames,
/// every later one block_frames, the last what is left. A video shorter than the first block is one block.
Blocks make_blocks(int64_t latent_frames, int64_t block_frames, int64_t context_frames, int64_t videos = 1);

/// One step of one block.
struct QueueEntry {
  int64_t iteration = 0;
  int64_t block = 0;
  int64_t age = 0;  ///< steps that the block has taken before this one
};

class QueueOrder {
 public:
  QueueOrder(int64_t blocks, int64_t steps) : blocks_(blocks), steps_(steps) {}

  size_t size() const { return static_cast<size_t>(blocks_ * steps_); }
  QueueEntry operator[](size_t place) const;
  RowIterator<QueueOrder> begin() const { return {this, 0}; }
  RowIterator<QueueOrder> end() const { return {this, size()}; }
  int64_t iterations() const { return steps_ + blocks_ - 1; }
  /// Of an iteration's first entry; from `iterations()` on, size().
  int64_t place_of(int64_t iteration) const;

 private:
  int64_t blocks_, steps_;
};

/// Every step of every block, in the order in which they enter the pipeline: iteration k = 0..steps+blocks-2 appends
/// block k to the queue, then takes the queue from its tail (newest, noisiest) to its head.
QueueOrder make_queue(int64_t blocks, int64_t steps);

/// The block at the queue's head in an iteration.
int64_t oldest_block(int64_t iteration, int64_t steps);

/// Place of block's step in make_queue()'s order.
int64_t queue_position(int64_t blocks, int64_t steps, int64_t iteration, int64_t block);

/// Place in that order of the last step whose result `entry` starts from; -1: none. Its own last step, and with
/// `previous_updated`, unless it begins the first video, the last step of the block before it.
int64_t needed_position(int64_t blocks, int64_t steps, const QueueEntry& entry, bool previous_updated);

/// Place in the order up to which results are there, without waiting, after the entry at `position` has been through
/// the first of `stages` stages: if it is a block's last step, whose latents are final then and need not wait for a
/// window that sees them. -1: none. A result has been through all stages after as many entries; twice as many leave
/// time for stages of unequal length.
int64_t final_position(const QueueOrder& order, int64_t position, int64_t steps, int64_t stages);

}  // namespace dualparal
