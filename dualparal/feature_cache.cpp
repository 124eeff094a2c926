// SPDX-License-Identifier: Apache-2.0
#include "dualparal/feature_cache.h"

#include "base/errors.h"
#include "model/ops/attention.h"
#include "model/ops/ops.h"

namespace dualparal {
namespace {

// Kept keys and values are used once: rotating them in place spoils nothing.
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

void FeatureCache::rotate_(at::Tensor& key, int64_t first_frame) {
  const int64_t frames = key.size(1) / job_.grid.frame_tokens();
  auto table = tables_.find({first_frame, frames});
  if (table == tables_.end())
    table = tables_
                .emplace(std::pair{first_frame, frames},
                         rotary_.table({frames, job_.grid.height, job_.grid.width}, first_frame, key.device()))
                .first;
  apply_rotary_(key, table->second);
}

at::Tensor FeatureCache::attend(const AttentionInput& input) {
  at::Tensor query = input.query, key = input.key, value = input.value;
  KeyValue next = take(heads_, input.layer), previous;
  if (job_.first_position > 0) {
    previous = take(tails_[job_.block - 1], input.layer);
    check(previous.key.defined() && previous.key.size(1) == job_.first_position * job_.grid.frame_tokens(),
          "block {}, layer {}: the {} last frames of the block before were not kept", job_.block, input.layer,
          job_.first_position);
  }
  if (job_.head.size() > 0) heads_[input.layer] = frames_of(key, value, job_.head);
  if (job_.tail.size() > 0) tails_[job_.block][input.layer] = frames_of(key, value, job_.tail);
  apply_rotary_(query, input.rotary);
  apply_rotary_(key, input.rotary);
  std::vector<at::Tensor> keys{key}, values{value};
  if (previous.key.defined()) {
    rotate_(previous.key, job_.offset);
    keys.insert(keys.begin(), previous.key);
    values.insert(values.begin(), previous.value);
  }
  if (next.key.defined()) {
    rotate_(next.key, job_.offset + job_.first_position + job_.grid.frames);
    keys.push_back(next.key);
    values.push_back(next.value);
  }
  if (keys.size() > 1) {
    key = at::cat(keys, 1);
    value = at::cat(values, 1);
  }
  return attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
      .transpose(1, 2);  // [batch, tokens, heads, head_dim]
}

}  // namespace dualparal
