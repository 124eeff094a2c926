// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/local_attention.h"

#include "model/ops/attention.h"
#include "model/ops/sparse_attention.h"

namespace dualparal {

at::Tensor LocalAttention::attend(const AttentionInput& input) {
  const at::Tensor query = input.placed_query(), key = input.placed_key();
  if (input.sight) return sparse_attention(query, key, input.value, *input.sight);
  return attention(query.transpose(1, 2), key.transpose(1, 2), input.value.transpose(1, 2))
      .transpose(1, 2);  // [batch, tokens, heads, head_dim]
}

}  // namespace dualparal
