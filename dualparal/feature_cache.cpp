// SPDX-License-Identifier: Apache-2.0
#include "dualparal/feature_cache.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <utility>

#include "base/errors.h"
#include "model/ops/attention.h"
#include "model/ops/ops.h"

namespace dualparal {
namespace {

// Kept keys and values are used once.
FeatureCache::KeyValue take(FeatureCache::Layers& layers, int64_t layer) {
  const auto found = layers.find(layer);
  if (found == layers.end()) return {};
  FeatureCache::KeyValue kept = std::move(found->second);
  layers.erase(found);
  return kept;
}

}  // namespace

FeatureCache::KeyValue FeatureCache::frames_of(const at::Tensor& key, const at::Tensor& value,
                                               const Range& frames) const {
  const int64_t begin = frames.begin * job_.grid.frame_tokens(), end = frames.end * job_.grid.frame_tokens();
  return {key.slice(1, begin, end).clone(), value.slice(1, begin, end).clone()};
}

void FeatureCache::keep(const std::string& name, const CachePart& part, RunState& state) const {
  state.numbers[name + "/first half"] = part.batch.begin;
  state.numbers[name + "/first head"] = part.heads.begin;
  state.numbers[name + "/normalised"] = part.normalised ? 1 : 0;
  for (const auto& [block, layers] : tails())
    for (const auto& [layer, kept] : layers) {
      const std::string place = fmt::format("{}/{}/{}", name, block, layer);
      state.tensors[place + "/key"] = host_ ? kept.key.clone() : kept.key;
      state.tensors[place + "/value"] = host_ ? kept.value.clone() : kept.value;
    }
}

namespace {

// A rank's part of one block's keys and values in one layer, filled with pieces that others kept.
class PartOfTail {
 public:
  PartOfTail(const CachePart& part, const at::Tensor& like)
      : part_(part),
        tail_{room(part, like), room(part, like)},
        filled_(at::zeros({part.batch.size(), part.heads.size()}, at::kBool)) {}

  void fill(const KeyValue& piece, int64_t first_half, int64_t first_head) {
    const Range batch{first_half, first_half + piece.key.size(0)}, heads{first_head, first_head + piece.key.size(2)};
    const Range halves = intersection(batch, part_.batch), shared = intersection(heads, part_.heads);
    const auto cut = [&](const at::Tensor& x, const Range& from_batch, const Range& from_heads, int64_t heads_dim) {
      return x.slice(0, halves.begin - from_batch.begin, halves.end - from_batch.begin)
          .slice(heads_dim, shared.begin - from_heads.begin, shared.end - from_heads.begin);
    };
    if (halves.size() == 0 || shared.size() == 0) return;
    cut(tail_.key, part_.batch, part_.heads, 2).copy_(cut(piece.key, batch, heads, 2));
    cut(tail_.value, part_.batch, part_.heads, 2).copy_(cut(piece.value, batch, heads, 2));
    cut(filled_, part_.batch, part_.heads, 1).fill_(true);
  }
  bool whole() const { return filled_.all().item<bool>(); }
  const KeyValue& tail() const { return tail_; }

 private:
  static at::Tensor room(const CachePart& part, const at::Tensor& like) {
    return at::empty({part.batch.size(), like.size(1), part.heads.size(), like.size(3)}, like.options());
  }

  CachePart part_;
  KeyValue tail_;
  at::Tensor filled_;
};

}  // namespace

void FeatureCache::restore(const std::string& name, const SavedRun& kept, int64_t rank, const CachePart& part,
                           const std::vector<int64_t>& layers, const at::Device& device) {
  std::map<std::pair<int64_t, int64_t>, PartOfTail> parts;  // by block and layer
  const auto fill_from = [&](const RunState& state) {
    for (const auto& [place, key] : state.tensors) {
      long long block = 0, layer = 0;
      if (!place.starts_with(name + "/") || !place.ends_with("/key") ||
          std::sscanf(place.c_str() + name.size(), "/%lld/%lld/", &block, &layer) != 2 ||
          std::ranges::find(layers, layer) == layers.end())
        continue;
      check(state.number(name + "/normalised") == (part.normalised ? 1 : 0),
            "the snapshot's keys and values of --previous-context matched_kv are of a run {} --sequence-degree, where "
            "their norm comes at another place: resume it {} --sequence-degree",
            part.normalised ? "without" : "with", part.normalised ? "without" : "with");
      const at::Tensor& value = state.tensor(place.substr(0, place.size() - 3) + "value");
      parts.try_emplace({block, layer}, part, key)
          .first->second.fill({key, value}, state.number(name + "/first half"), state.number(name + "/first head"));
    }
  };
  for (int64_t other = 0; other < std::ssize(kept.ranks); ++other)
    if (other != rank) fill_from(kept.ranks[other]);
  if (rank < std::ssize(kept.ranks)) fill_from(kept.ranks[rank]);  // over what others kept of it
  for (const auto& [place, one] : parts) {
    const auto [block, layer] = place;
    check(one.whole(), "the snapshot lacks keys and values of block {}, layer {}", block, layer);
    if (host_)
      host_->restore({micro_batch_, block, layer}, one.tail());
    else
      tails_[block][layer] = {one.tail().key.to(device), one.tail().value.to(device)};
  }
}

// The positions of kept keys.
const RotaryTable& FeatureCache::positions(int64_t first_frame, const at::Tensor& key) {
  const int64_t frames = key.size(1) / job_.grid.frame_tokens();
  auto table = tables_.find({first_frame, frames});
  if (table == tables_.end())
    table = tables_
                .emplace(std::pair{first_frame, frames},
                         rotary_.table({frames, job_.grid.height, job_.grid.width}, first_frame, key.device()))
                .first;
  return table->second;
}

FeatureCache::KeyValue FeatureCache::take_previous(int64_t layer) {
  KeyValue previous;
  if (const auto before = tails_.find(job_.block - 1); before != tails_.end()) {
    previous = take(before->second, layer);
    if (before->second.empty()) tails_.erase(before);
  }
  check(previous.key.defined() && previous.key.size(1) == tail_tokens(),
        "block {}, layer {}: the {} last frames of the block before were not kept", job_.block, layer,
        job_.first_position);
  return previous;
}

at::Tensor FeatureCache::attend(const AttentionInput& input) {
  KeyValue next = take(heads_, input.layer), previous;
  if (job_.first_position > 0 && !host_) previous = take_previous(input.layer);
  if (job_.head.size() > 0) heads_[input.layer] = frames_of(input.key, input.value, job_.head);
  if (job_.tail.size() > 0 && !host_) tails_[job_.block][input.layer] = frames_of(input.key, input.value, job_.tail);
  const at::Tensor query = input.placed_query();
  const bool alone = !previous.key.defined() && !next.key.defined();
  const KeyValue seen = host_   ? in_host_buffer(input, std::move(next))
                        : alone ? KeyValue{input.placed_key(), input.value}
                                : together(input, std::move(previous), std::move(next), {});
  return attention(query.transpose(1, 2), seen.key.transpose(1, 2), seen.value.transpose(1, 2))
      .transpose(1, 2);  // [batch, queries, heads, head_dim]
}

// Tails come and go beside what the device computes from here on.
FeatureCache::KeyValue FeatureCache::in_host_buffer(const AttentionInput& input, KeyValue next) {
  const int64_t before = tail_tokens(), own = input.key.size(1), behind = next.key.defined() ? next.key.size(1) : 0;
  const HostTails::Place seen{micro_batch_, job_.first_position > 0 ? job_.block - 1 : -1, input.layer};
  const KeyValue all = host_->begin_layer(input.key, before + own + behind, before > 0 ? &seen : nullptr);
  KeyValue previous;
  if (before > 0) previous = {all.key.slice(1, 0, before), all.value.slice(1, 0, before)};
  together(input, std::move(previous), std::move(next), all);
  if (job_.tail.size() > 0) {
    const int64_t begin = job_.tail.begin * job_.grid.frame_tokens(), end = job_.tail.end * job_.grid.frame_tokens();
    host_->keep({micro_batch_, job_.block, input.layer},
                {input.key.slice(1, begin, end), all.value.slice(1, before + begin, before + end)});
  }
  host_->fetch_behind(seen, job_.next_sees_tail ? job_.next_block - 1 : -1);
  return all;
}

// Keys and values of the window between those that were kept: each is written where it is read, in `given` if that is
// defined.
FeatureCache::KeyValue FeatureCache::together(const AttentionInput& input, KeyValue previous, KeyValue next,
                                              const KeyValue& given) {
  const auto tokens = [](const KeyValue& part) { return part.key.defined() ? part.key.size(1) : 0; };
  auto shape = input.key.sizes().vec();
  shape[1] += tokens(previous) + tokens(next);
  const KeyValue all = given.key.defined()
                           ? given
                           : KeyValue{at::empty(shape, input.key.options()), at::empty(shape, input.key.options())};
  int64_t end = 0;
  const auto add = [&](const at::Tensor& key, const at::Tensor& value, const RotaryTable& at) {
    const int64_t begin = std::exchange(end, end + key.size(1));
    at::Tensor target = all.key.slice(1, begin, end);
    norm_rotary(key, input.key_norm, at, target);
    const at::Tensor values = all.value.slice(1, begin, end);
    if (!values.is_alias_of(value)) values.copy_(value);
  };
  if (previous.key.defined()) add(previous.key, previous.value, positions(job_.offset, previous.key));
  add(input.key, input.value, input.rotary);
  if (next.key.defined())
    add(next.key, next.value, positions(job_.offset + job_.first_position + job_.grid.frames, next.key));
  return all;
}

}  // namespace dualparal
