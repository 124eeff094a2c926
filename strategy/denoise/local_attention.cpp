// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/local_attention.h"

#include "base/errors.h"
#include "model/ops/attention.h"
#include "model/ops/sparse_attention.h"

namespace dualparal {

at::Tensor LocalAttention::attend(const AttentionInput& input) {
  const at::Tensor query = input.placed_query(), key = input.placed_key();
  if (input.sight && !input.some_rotary) return sparse_attention(query, key, input.value, *input.sight);
  if (input.sight) {
    check(input.queries.has_value(), "layer {}: sparse attention of some tokens of a group of ranks is not supported",
          input.layer);
    PartialSparseAttention some(*input.sight, *input.queries);
    some.add(query, key, input.value, {0, key.size(1)});
    return some.result();
  }
  return attention(query.transpose(1, 2), key.transpose(1, 2), input.value.transpose(1, 2))
      .transpose(1, 2);  // [batch, tokens, heads, head_dim]
}

}  // namespace dualparal
