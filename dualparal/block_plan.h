// SPDX-License-Identifier: Apache-2.0
// Which frames are a block, and the order in which blocks go through the pipeline.
#pragma once

#include <cstdint>
#include <vector>

namespace dualparal {

/// Latent frames [begin, end) of a video.
struct Block {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t video = 0;  ///< of a list
  int64_t frames() const { return end - begin; }
  bool begins_video() const { return begin == 0; }
};

/// Of so many videos, one behind the other. A video's first block holds block_frames + context_frames latent frames,
/// every later one block_frames, the last what is left. A video shorter than the first block is one block.
std::vector<Block> make_blocks(int64_t latent_frames, int64_t block_frames, int64_t context_frames, int64_t videos = 1);

/// Whether another block of the same video comes behind this one.
bool has_successor(const std::vector<Block>& blocks, int64_t block);

/// One step of one block.
struct QueueEntry {
  int64_t iteration = 0;
  int64_t block = 0;
  int64_t age = 0;  ///< steps that the block has taken before this one
};

/// Every step of every block, in the order in which they enter the pipeline: iteration k = 0..steps+blocks-2 appends
/// block k to the queue, then takes the queue from its tail (newest, noisiest) to its head.
std::vector<QueueEntry> make_queue(int64_t blocks, int64_t steps);

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
int64_t final_position(const std::vector<QueueEntry>& order, int64_t position, int64_t steps, int64_t stages);

}  // namespace dualparal
