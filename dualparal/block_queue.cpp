// SPDX-License-Identifier: Apache-2.0
#include "dualparal/block_queue.h"

#include <algorithm>

#include "base/errors.h"

namespace dualparal {
namespace {

// The block behind `entry`'s, of the same video, is in the queue in the same iteration, and went through just before.
bool has_next(const Blocks& blocks, const QueueEntry& entry) {
  return blocks.has_successor(entry.block) && entry.block + 1 <= entry.iteration;
}

}  // namespace

Window window_of(const Blocks& blocks, const QueueEntry& entry, const ContextOptions& options) {
  Window window;
  window.own = blocks[entry.block].frames();
  if (!blocks[entry.block].begins_video()) {
    const int64_t seen = std::min(options.context_frames, blocks[entry.block - 1].frames());
    (options.previous_cached() ? window.previous_cached : window.previous) = seen;
  }
  if (options.sees_frames(entry.age) && has_next(blocks, entry))
    window.next = std::min(options.context_frames, blocks[entry.block + 1].frames());
  return window;
}

int64_t position_offset(const Blocks& blocks, const QueueEntry& entry, const ContextOptions& options) {
  const Window window = window_of(blocks, entry, options);
  switch (options.position) {
    case WindowPosition::kLocal:
      return 0;
    case WindowPosition::kShifted:
      return blocks[entry.block].begins_video() ? 0 : 1;
    case WindowPosition::kAbsolute:
      return blocks[entry.block].begin - window.previous - window.previous_cached;
  }
  fail("a window position that is none");
}

BlockQueue::BlockQueue(const Blocks& blocks, ContextOptions options, int64_t steps, MakeNoise make_noise,
                       MakeSampler make_sampler, at::Device device)
    : blocks_(blocks),
      options_(options),
      steps_(steps),
      make_noise_(std::move(make_noise)),
      make_sampler_(std::move(make_sampler)),
      device_(device) {}

// Blocks come in order, and each video has noise of its own.
BlockNoise& BlockQueue::noise_for(const Block& block) {
  if (block.begins_video()) noise_.emplace(make_noise_(block.video));
  return *noise_;
}

at::Tensor BlockQueue::window(const QueueEntry& entry) {
  if (entry.age == 0) {
    const Block& block = blocks_[entry.block];
    states_[entry.block] = {noise_for(block).next(block).to(device_), {}, make_sampler_()};
    drawn_ = entry.block + 1;
  }
  State& state = states_.at(entry.block);
  state.submitted = state.latents;

  const Window window = window_of(blocks_, entry, options_);
  std::vector<at::Tensor> parts;
  if (window.previous > 0) {
    const State& before = states_.at(entry.block - 1);
    const at::Tensor& latents = options_.previous == PreviousContext::kSynchronous ? before.latents : before.submitted;
    parts.push_back(latents.slice(2, latents.size(2) - window.previous));
  }
  parts.push_back(state.latents);
  if (window.next > 0) parts.push_back(states_.at(entry.block + 1).submitted.slice(2, 0, window.next));
  return parts.size() == 1 ? parts[0] : at::cat(parts, 2);
}

void BlockQueue::apply(const QueueEntry& entry, const at::Tensor& prediction, LatentsSink& sink) {
  State& state = states_.at(entry.block);
  state.latents = state.sampler->step(prediction, state.latents);
  if (entry.age + 1 < steps_) return;
  sink.push(state.latents);
  state.sampler.reset();
  states_.erase(entry.block - 1);  // its tail was this block's context; nobody else needs it
}

void BlockQueue::keep(int64_t block, RunState& kept) const {
  const State& state = states_.at(block);
  const std::string name = fmt::format("block {}", block);
  kept.tensors[name + "/latents"] = state.latents;
  if (options_.previous == PreviousContext::kMatched) kept.tensors[name + "/submitted"] = state.submitted;
  if (state.sampler) kept.add(name + "/sampler", state.sampler->state());
}

void BlockQueue::restore(int64_t block, const RunState& kept) {
  const std::string name = fmt::format("block {}", block);
  const auto own = [&](const char* what) {
    return kept.tensor(name + what).to(device_, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  };
  State state{own("/latents"), {}, nullptr};
  if (options_.previous == PreviousContext::kMatched) state.submitted = own("/submitted");
  const SamplerState sampler = kept.sampler(name + "/sampler", device_);
  if (!sampler.numbers.empty()) {  // else it has taken all its steps
    state.sampler = make_sampler_();
    state.sampler->set_state(sampler);
  }
  states_[block] = std::move(state);
  for (; drawn_ <= block; ++drawn_) noise_for(blocks_[drawn_]).skip();
}

}  // namespace dualparal
