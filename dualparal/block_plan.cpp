// SPDX-License-Identifier: Apache-2.0
#include "dualparal/block_plan.h"

#include <algorithm>

namespace dualparal {
namespace {

int64_t newest(int64_t iteration, int64_t blocks) { return std::min(iteration, blocks - 1); }

}  // namespace

int64_t oldest_block(int64_t iteration, int64_t steps) { return std::max<int64_t>(0, iteration - steps + 1); }

std::vector<Block> make_blocks(int64_t latent_frames, int64_t block_frames, int64_t context_frames, int64_t videos) {
  std::vector<Block> blocks;
  for (int64_t video = 0; video < videos; ++video) {
    blocks.push_back({0, std::min(latent_frames, block_frames + context_frames), video});
    while (blocks.back().end < latent_frames) {
      const int64_t begin = blocks.back().end;
      blocks.push_back({begin, std::min(latent_frames, begin + block_frames), video});
    }
  }
  return blocks;
}

bool has_successor(const std::vector<Block>& blocks, int64_t block) {
  const auto next = static_cast<size_t>(block + 1);
  return next < blocks.size() && !blocks[next].begins_video();
}

std::vector<QueueEntry> make_queue(int64_t blocks, int64_t steps) {
  std::vector<QueueEntry> queue;
  for (int64_t k = 0; k < steps + blocks - 1; ++k)
    for (int64_t i = newest(k, blocks); i >= oldest_block(k, steps); --i) queue.push_back({k, i, k - i});
  return queue;
}

int64_t queue_position(int64_t blocks, int64_t steps, int64_t iteration, int64_t block) {
  int64_t before = 0;
  for (int64_t k = 0; k < iteration; ++k) before += newest(k, blocks) - oldest_block(k, steps) + 1;
  return before + newest(iteration, blocks) - block;
}

int64_t final_position(const std::vector<QueueEntry>& order, int64_t position, int64_t steps, int64_t stages) {
  const int64_t back = position - 2 * stages;
  return back >= 0 && order[back].age + 1 == steps ? back : -1;
}

int64_t needed_position(int64_t blocks, int64_t steps, const QueueEntry& entry, bool previous_updated) {
  if (entry.iteration == 0) return -1;
  if (previous_updated && entry.block > 0) return queue_position(blocks, steps, entry.iteration - 1, entry.block - 1);
  if (entry.age > 0) return queue_position(blocks, steps, entry.iteration - 1, entry.block);
  return -1;
}

}  // namespace dualparal
