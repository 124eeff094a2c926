// SPDX-License-Identifier: Apache-2.0
#include "dualparal/feature_cache.h"

#include "model/attention.h"
#include "model/ops.h"

namespace dualparal {

void FeatureCache::begin_job(const TokenGrid& grid, int64_t store_begin, int64_t store_end) {
  grid_ = grid;
  store_begin_ = store_begin;
  store_end_ = store_end;
}

at::Tensor FeatureCache::attend(const AttentionInput& input) {
  at::Tensor query = input.query, key = input.key, value = input.value;
  KeyValue cached;
  if (const auto found = layers_.find(input.layer); found != layers_.end()) {
    cached = std::move(found->second);
    layers_.erase(found);
  }
  if (store_end_ > store_begin_) {
    const int64_t begin = store_begin_ * grid_.frame_tokens(), end = store_end_ * grid_.frame_tokens();
    layers_[input.layer] = {key.slice(1, begin, end).clone(), value.slice(1, begin, end).clone()};
  }
  apply_rotary_(query, input.rotary);
  apply_rotary_(key, input.rotary);
  if (cached.key.defined()) {
    // The cached frames take the positions right behind the window's.
    const int64_t frames = cached.key.size(1) / grid_.frame_tokens();
    auto table = tables_.find({grid_.frames, frames});
    if (table == tables_.end())
      table = tables_.emplace(std::pair{grid_.frames, frames},
                              rotary_.table({frames, grid_.height, grid_.width}, grid_.frames, key.device())).first;
    apply_rotary_(cached.key, table->second);
    key = at::cat({key, cached.key}, 1);
    value = at::cat({value, cached.value}, 1);
  }
  return attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
      .transpose(1, 2);  // [batch, tokens, heads, head_dim]
}

}  // namespace dualparal
