// SPDX-License-Identifier: Apache-2.0
// Sizes that are no multiple of anything, and what the fused operations compute, in double.
#pragma once

#include "model/ops/rotary.h"
#include "tests/testing.h"

namespace dualparal::testing {

struct OpCase {
  at::ScalarType dtype;
  int64_t batch, tokens, heads, head_dim;
  double tolerance;  // of the largest number
};
inline std::ostream& operator<<(std::ostream& out, const OpCase& c) {
  return out << c10::toString(c.dtype) << " [" << c.batch << ", " << c.tokens << ", " << c.heads << " x " << c.head_dim
             << "]";
}

/// fp32: sums in another order. bf16 and fp16: computed in fp32 and rounded once, so at most one unit in the last place
/// (2^-8, 2^-11) apart.
inline std::vector<OpCase> op_cases() {
  std::vector<OpCase> cases;
  for (const auto& [dtype, tolerance] :
       {std::pair(at::kFloat, 2e-6), {at::kBFloat16, 1.0 / 256}, {at::kHalf, 1.0 / 2048}})
    for (const auto& [batch, tokens, heads, head_dim] : std::vector<std::array<int64_t, 4>>{
             {1, 1, 1, 2}, {2, 7, 3, 10}, {1, 131, 5, 26}, {3, 33, 1, 6}, {2, 1001, 7, 18}, {1, 7, 12, 128}})
      cases.push_back({dtype, batch, tokens, heads, head_dim, tolerance});
  return cases;
}

/// The query, key or value of a fused product: rows of `dim` numbers, 3 * dim apart.
inline at::Tensor fused_slice(const OpCase& c, int64_t which, uint64_t seed) {
  const int64_t dim = c.heads * c.head_dim;
  return randn({c.batch, c.tokens, 3 * dim}, seed, c.dtype).slice(-1, which * dim, (which + 1) * dim);
}
inline at::Tensor by_head(const at::Tensor& x, const OpCase& c) { return x.unflatten(-1, {c.heads, c.head_dim}); }

inline RotaryTable random_table(int64_t tokens, int64_t head_dim) {
  const at::Tensor angle = randn({tokens, head_dim / 2}, 9) * 3;
  return {angle.cos(), angle.sin()};
}

/// [groups, dim] -> [tokens, dim] in double
inline at::Tensor per_token(const at::Tensor& groups, int64_t tokens) {
  return groups.repeat_interleave(tokens / groups.size(0), 0).to(at::kDouble);
}

inline at::Tensor normalised(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kDouble);
  return wide / at::sqrt(wide.square().mean(-1, true) + eps) * weight.to(at::kDouble);
}

inline at::Tensor layer_normalised(const at::Tensor& x, double eps) {
  const at::Tensor wide = x.to(at::kDouble), centred = wide - wide.mean(-1, true);
  return centred / at::sqrt(centred.square().mean(-1, true) + eps);
}

/// x: [batch, tokens, heads, head_dim] -> in double, every pair of channels times e^(i * angle)
inline at::Tensor turned(const at::Tensor& x, const RotaryTable& table) {
  const at::Tensor angle = at::complex(table.cos, table.sin).unsqueeze(1).to(at::kComplexDouble);
  const at::Tensor pairs = at::view_as_complex(x.to(at::kDouble).contiguous().unflatten(-1, {-1, 2}));
  return at::view_as_real(pairs * angle).flatten(-2);
}

}  // namespace dualparal::testing
