// SPDX-License-Identifier: Apache-2.0
#include "dualparal/host_tails.h"

#include <algorithm>

#include "base/errors.h"
#include "base/measure/memory.h"

namespace dualparal {
namespace {

// In one allocation: pinned memory comes in powers of two, of which many small pieces would waste the more.
constexpr int64_t kSlotsTogether = 16;

}  // namespace

HostSlots::HostSlots(int64_t count, const std::vector<int64_t>& shape, at::ScalarType dtype, const at::Device& device)
    : shape_(shape) {
  for (int64_t left = count; left > 0; left -= kSlotsTogether) {
    std::vector<int64_t> sizes{std::min(left, kSlotsTogether), 2};
    sizes.insert(sizes.end(), shape.begin(), shape.end());
    const at::Tensor together = empty_in_host_memory(sizes, dtype, device);
    for (int64_t i = 0; i < sizes[0]; ++i) free_.push_back({together.select(0, i)[0], together.select(0, i)[1]});
  }
}

KeyValue HostSlots::take() {
  check(!free_.empty(), "more keys and values are kept in host memory than were planned");
  KeyValue slot = std::move(free_.back());
  free_.pop_back();
  return slot;
}

HostTails::~HostTails() {
  try {
    copies_.finish();
  } catch (const std::exception&) {  // a fault of the device: whoever uses it next is told
  }
  for (Blocks& blocks : kept_)
    for (auto& [block, layers] : blocks)
      for (auto& [layer, slot] : layers) slots_.give_back(std::move(slot));
}

KeyValue& HostTails::buffer(size_t which, const at::Tensor& like) {
  KeyValue& buffer = buffers_.at(which);
  auto sizes = like.sizes().vec();
  sizes[1] = most_tokens_;
  if (!buffer.key.defined()) buffer = {at::empty(sizes, like.options()), at::empty(sizes, like.options())};
  return buffer;
}

KeyValue HostTails::first_tokens(const KeyValue& buffer, int64_t tokens) const {
  check(tokens <= most_tokens_, "keys and values of {} tokens are put together, planned were {}", tokens, most_tokens_);
  return {buffer.key.slice(1, 0, tokens), buffer.value.slice(1, 0, tokens)};
}

KeyValue HostTails::begin_layer(const at::Tensor& like, int64_t tokens, const Place* seen) {
  buffer(0, like), buffer(1, like);
  if (seen && fetched_ != *seen) {  // the first layer of all, or of a run that goes on
    copies_.wait();
    check(fetch(*seen), "block {}, layer {}: the last frames of the block before were not kept", seen->block + 1,
          seen->layer);
  }
  copies_.wait();
  current_ = 1 - current_;
  fetched_.reset();
  if (seen) {
    Layers& layers = kept_.at(static_cast<size_t>(seen->micro_batch)).at(seen->block);
    slots_.give_back(std::move(layers.extract(seen->layer).mapped()));
  }
  return first_tokens(buffers_.at(current_), tokens);
}

// Into the buffer that is not in use. False if nothing is kept there.
bool HostTails::fetch(const Place& place) {
  const Blocks& blocks = kept_.at(static_cast<size_t>(place.micro_batch));
  const auto block = blocks.find(place.block);
  if (block == blocks.end()) return false;
  const auto slot = block->second.find(place.layer);
  if (slot == block->second.end()) return false;
  const KeyValue target = first_tokens(buffers_.at(1 - current_), slots_.shape()[1]);
  copies_.begin(Event::Kind::kFromHost, {{target.key, slot->second.key}, {target.value, slot->second.value}});
  fetched_ = place;
  return true;
}

void HostTails::keep(const Place& place, const KeyValue& tail) {
  if (!staged_key_.defined()) staged_key_ = at::empty(slots_.shape(), tail.key.options());
  staged_key_.copy_(tail.key);
  KeyValue slot = slots_.take();
  copies_.begin(Event::Kind::kToHost, {{slot.key, staged_key_}, {slot.value, tail.value}});
  kept_.at(static_cast<size_t>(place.micro_batch))[place.block][place.layer] = std::move(slot);
}

void HostTails::fetch_behind(const Place& place, int64_t then) {
  const auto layer = std::ranges::upper_bound(layers_, place.layer);
  if (layer != layers_.end())
    fetch({place.micro_batch, place.block, *layer});
  else if (place.micro_batch + 1 < static_cast<int64_t>(kept_.size()))
    fetch({place.micro_batch + 1, place.block, layers_.front()});
  else
    fetch({0, then, layers_.front()});
}

const HostTails::Blocks& HostTails::kept(int64_t micro_batch) {
  copies_.finish();
  return kept_.at(static_cast<size_t>(micro_batch));
}

void HostTails::restore(const Place& place, const KeyValue& tail) {
  KeyValue slot = slots_.take();
  slot.key.copy_(tail.key);
  slot.value.copy_(tail.value);
  kept_.at(static_cast<size_t>(place.micro_batch))[place.block][place.layer] = std::move(slot);
}

}  // namespace dualparal
