// SPDX-License-Identifier: Apache-2.0
#include "dualparal/block_plan.h"

#include <algorithm>

namespace dualparal {
namespace {

int64_t newest(int64_t iteration, int64_t blocks) { return std::min(iteration, blocks - 1); }

// How many entries there are in the iterations before one: of each one more than of the one before, until the queue
// holds as many as it ever does, and one less in the end.
int64_t entries_before(int64_t iteration, int64_t blocks, int64_t steps) {
  const int64_t most = std::min(blocks, steps), full_until = std::max(blocks, steps);
  const auto triangle = [](int64_t n) { return n * (n + 1) / 2; };
  if (iteration <= most) return triangle(iteration);
  const int64_t full = std::min(iteration, full_until) - most, emptying = std::max<int64_t>(0, iteration - full_until);
  return triangle(most) + full * most + emptying * (most - 1) - triangle(emptying - 1);
}

}  // namespace

int64_t oldest_block(int64_t iteration, int64_t steps) { return std::max<int64_t>(0, iteration - steps + 1); }

size_t Blocks::of_video() const {
  const int64_t later = frames_ - block_frames_ - context_frames_;
  return static_cast<size_t>(1 + (later > 0 ? (later - 1) / block_frames_ + 1 : 0));
}

Block Blocks::operator[](size_t block) const {
  const auto video = static_cast<int64_t>(block / of_video()), number = static_cast<int64_t>(block % of_video());
  const int64_t first = block_frames_ + context_frames_;
  const int64_t end = std::min(frames_, first + number * block_frames_);
  return {number == 0 ? 0 : first + (number - 1) * block_frames_, end, video};
}

bool Blocks::has_successor(int64_t block) const {
  const auto next = static_cast<size_t>(block + 1);
  return next < size() && !(*this)[next].begins_video();
}

Blocks make_blocks(int64_t latent_frames, int64_t block_frames, int64_t context_frames, int64_t videos) {
  return {latent_frames, block_frames, context_frames, videos};
}

int64_t QueueOrder::place_of(int64_t iteration) const {
  return iteration >= iterations() ? static_cast<int64_t>(size()) : entries_before(iteration, blocks_, steps_);
}

QueueEntry QueueOrder::operator[](size_t place) const {
  const auto position = static_cast<int64_t>(place);
  // The last iteration that begins there or before. Each has an entry at least.
  int64_t iteration = 0, beyond = std::min(position + 1, iterations());
  while (beyond - iteration > 1) {
    const int64_t middle = iteration + (beyond - iteration) / 2;
    (entries_before(middle, blocks_, steps_) <= position ? iteration : beyond) = middle;
  }
  const int64_t block = newest(iteration, blocks_) - (position - entries_before(iteration, blocks_, steps_));
  return {iteration, block, iteration - block};
}

QueueOrder make_queue(int64_t blocks, int64_t steps) { return {blocks, steps}; }

int64_t queue_position(int64_t blocks, int64_t steps, int64_t iteration, int64_t block) {
  return entries_before(iteration, blocks, steps) + newest(iteration, blocks) - block;
}

int64_t final_position(const QueueOrder& order, int64_t position, int64_t steps, int64_t stages) {
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
