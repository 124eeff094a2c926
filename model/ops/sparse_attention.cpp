// SPDX-License-Identifier: Apache-2.0
#include "model/ops/sparse_attention.h"

#include <limits>

#include "base/errors.h"
#include "model/ops/attention.h"
#include "model/ops/ops.h"

namespace dualparal {
namespace {

// One batch, with a piece as an element of the kernel's batch: [batch * pieces, heads, tokens, head_dim].
struct Gathered {
  at::Tensor query, key, value;
};

// [batch, pieces * n, heads, head_dim] -> [batch * pieces, heads, n, head_dim]
at::Tensor by_piece(const at::Tensor& x, int64_t pieces) {
  return x.unflatten(1, {pieces, x.size(1) / pieces}).flatten(0, 1).transpose(1, 2);
}

// [batch * pieces, heads, n, last] -> [batch, pieces * n, heads, last]
at::Tensor by_token(const at::Tensor& x, int64_t pieces) {
  return x.transpose(1, 2).unflatten(0, {x.size(0) / pieces, pieces}).flatten(1, 2);
}

at::Tensor gather(const at::Tensor& x, const FrameSight::Batch& batch) {
  std::vector<at::Tensor> parts;
  for (const auto& piece : batch.pieces)
    for (const TokenSpan& span : piece) parts.push_back(x.slice(1, span.begin, span.end));
  return by_piece(parts.size() == 1 ? parts[0] : at::cat(parts, 1), static_cast<int64_t>(batch.pieces.size()));
}

Gathered gather(const FrameSight::Batch& batch, const at::Tensor& query, const at::Tensor& key,
                const at::Tensor& value) {
  const at::Tensor own = query.slice(1, batch.queries.begin, batch.queries.end);
  return {by_piece(own, static_cast<int64_t>(batch.pieces.size())), gather(key, batch), gather(value, batch)};
}

}  // namespace

at::Tensor sparse_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const FrameSight& sight) {
  check(query.size(1) == sight.tokens() && key.size(1) == sight.tokens(),
        "sparse attention: {} queries and {} keys, expected all {} tokens of the video", query.size(1), key.size(1),
        sight.tokens());
  const TokenSpan all{0, sight.tokens()};
  std::vector<at::Tensor> parts;
  for (const FrameSight::Batch& batch : sight.batches(all, all)) {
    const Gathered part = gather(batch, query, key, value);
    parts.push_back(by_token(attention(part.query, part.key, part.value), static_cast<int64_t>(batch.pieces.size())));
  }
  return at::cat(parts, 1);
}

void PartialSparseAttention::add(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                 const TokenSpan& keys) {
  check(query.size(1) == queries_.size() && key.size(1) == keys.size(),
        "sparse attention: {} queries and {} keys, expected {} and {}", query.size(1), key.size(1), queries_.size(),
        keys.size());
  if (!output_.defined()) {
    dtype_ = query.scalar_type();
    const auto fp32 = query.options().dtype(at::kFloat);
    output_ = at::zeros(query.sizes(), fp32);
    weight_ =
        at::full({query.size(0), query.size(1), query.size(2), 1}, -std::numeric_limits<double>::infinity(), fp32);
  }
  for (const FrameSight::Batch& batch : sight_.batches(queries_, keys)) {
    const Gathered part = gather(batch, query, key, value);
    const auto pieces = static_cast<int64_t>(batch.pieces.size());
    const WeightedAttention attended = weighted_attention(part.query, part.key, part.value);
    at::Tensor output = output_.slice(1, batch.queries.begin, batch.queries.end);
    at::Tensor weight = weight_.slice(1, batch.queries.begin, batch.queries.end);
    merge_attention_(output, weight, by_token(attended.output, pieces), by_token(attended.weight, pieces));
  }
}

at::Tensor PartialSparseAttention::result() const {
  check(output_.defined(), "sparse attention over no keys");
  return output_.to(dtype_);
}

}  // namespace dualparal
