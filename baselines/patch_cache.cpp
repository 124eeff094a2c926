// SPDX-License-Identifier: Apache-2.0
#include "baselines/patch_cache.h"

#include "base/errors.h"
#include "model/ops/attention.h"

namespace dualparal {

at::Tensor PatchCache::attend(const AttentionInput& input) {
  const at::Tensor query = input.placed_query();
  at::Tensor key = input.placed_key(), value = input.value;
  if (job_.size() == all_) {
    if (keep_) kept_[input.layer] = {key.clone(), value.clone()};
  } else {
    const auto kept = kept_.find(input.layer);
    check(kept != kept_.end(), "layer {}: no keys and values of the sequence were kept for tokens {}..{}", input.layer,
          job_.begin, job_.end - 1);
    kept->second.key.slice(1, job_.begin, job_.end).copy_(key);
    kept->second.value.slice(1, job_.begin, job_.end).copy_(value);
    key = kept->second.key;
    value = kept->second.value;
  }
  return attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
      .transpose(1, 2);  // [batch, queries, heads, head_dim]
}

}  // namespace dualparal
