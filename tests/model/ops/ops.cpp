// SPDX-License-Identifier: Apache-2.0
// The CPU kernels against plain ATen operations, at sizes that are no multiple of anything, on rows that do not lie
// side by side.
#include "model/ops/ops.h"

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

struct OpCase {
  at::ScalarType dtype;
  int64_t batch, tokens, heads, head_dim;
  double tolerance;  // of the largest number
};
std::ostream& operator<<(std::ostream& out, const OpCase& c) {
  return out << c10::toString(c.dtype) << " [" << c.batch << ", " << c.tokens << ", " << c.heads << " x " << c.head_dim
             << "]";
}

// fp32: sums in another order. bf16: both sides compute in fp32 and round once, so at most one unit in the last
// place (2^-8) apart where the fp32 values fall on two sides of a border.
constexpr double kFp32 = 2e-6, kBf16 = 1.0 / 256;
const std::vector<OpCase> kCases = {
    {at::kFloat, 1, 1, 1, 2, kFp32},       {at::kFloat, 2, 7, 3, 10, kFp32},       {at::kFloat, 1, 131, 5, 26, kFp32},
    {at::kFloat, 3, 33, 1, 6, kFp32},      {at::kBFloat16, 1, 1, 1, 2, kBf16},     {at::kBFloat16, 2, 7, 3, 10, kBf16},
    {at::kBFloat16, 1, 131, 5, 26, kBf16}, {at::kBFloat16, 2, 1001, 7, 18, kBf16},
};

// The query, key or value of a fused product: rows of `dim` numbers, 3 * dim apart.
at::Tensor fused_slice(const OpCase& c, int64_t which, uint64_t seed) {
  const int64_t dim = c.heads * c.head_dim;
  return randn({c.batch, c.tokens, 3 * dim}, seed, c.dtype).slice(-1, which * dim, (which + 1) * dim);
}

RotaryTable random_table(int64_t tokens, int64_t head_dim) {
  const at::Tensor angle = randn({tokens, head_dim / 2}, 9) * 3;
  return {angle.cos(), angle.sin()};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(model_ops)

BOOST_DATA_TEST_CASE(rms_norm_kernel_equals_the_reference, data::make(kCases) * data::make({0, 1, 2}), c, which) {
  at::Tensor ours = fused_slice(c, which, 1), expected = fused_slice(c, which, 1).clone();
  const at::Tensor weight = randn({c.heads * c.head_dim}, 2, c.dtype);
  at::Tensor fused = ours.clone();
  cpu::rms_norm_(ours, weight, 1e-6);
  cuda::rms_norm_(fused, weight, 1e-6);  // LibTorch has it for any device
  reference::rms_norm_(expected, weight, 1e-6);
  BOOST_TEST(relative_error(ours, expected) <= c.tolerance);
  BOOST_TEST(relative_error(fused, expected) <= c.tolerance);
}

BOOST_DATA_TEST_CASE(rotary_kernel_equals_the_reference, data::make(kCases) * data::make({0, 1}), c, which) {
  at::Tensor ours = fused_slice(c, which, 3).unflatten(-1, {c.heads, c.head_dim});
  at::Tensor expected = ours.clone();
  const RotaryTable table = random_table(c.tokens, c.head_dim);
  cpu::apply_rotary_(ours, table);
  reference::apply_rotary_(expected, table);
  BOOST_TEST(relative_error(ours, expected) <= c.tolerance);
}

BOOST_DATA_TEST_CASE(add_gated_kernel_equals_the_reference, data::make(kCases) * data::make({1, 7}), c, groups) {
  if (c.tokens % groups != 0) return;
  const int64_t dim = c.heads * c.head_dim;
  at::Tensor ours = randn({c.batch, c.tokens, dim}, 4, c.dtype);
  at::Tensor expected = ours.clone();
  const at::Tensor y = randn({c.batch, c.tokens, dim}, 5, c.dtype), gate = randn({groups, dim}, 6);
  at::Tensor fused = ours.clone();
  cpu::add_gated_(ours, y, gate);
  cuda::add_gated_(fused, y, gate);  // LibTorch has it for any device
  reference::add_gated_(expected, y, gate);
  BOOST_TEST(relative_error(ours, expected) <= c.tolerance);
  BOOST_TEST(relative_error(fused, expected) <= c.tolerance);
}

BOOST_AUTO_TEST_CASE(kernels_touch_their_own_slice_only) {
  const OpCase c{at::kBFloat16, 2, 13, 3, 10, 0};
  const int64_t dim = c.heads * c.head_dim;
  at::Tensor fused = randn({c.batch, c.tokens, 3 * dim}, 7, c.dtype);
  const at::Tensor before = fused.clone();
  at::Tensor key = fused.slice(-1, dim, 2 * dim);
  rms_norm_(key, randn({dim}, 8), 1e-6);
  at::Tensor heads = key.unflatten(-1, {c.heads, c.head_dim});
  apply_rotary_(heads, random_table(c.tokens, c.head_dim));
  BOOST_TEST(identical(fused.slice(-1, 0, dim), before.slice(-1, 0, dim)));
  BOOST_TEST(identical(fused.slice(-1, 2 * dim), before.slice(-1, 2 * dim)));
  BOOST_TEST(!at::equal(fused.slice(-1, dim, 2 * dim), before.slice(-1, dim, 2 * dim)));
}

BOOST_AUTO_TEST_CASE(narrowing_rounds_as_aten_does) {
  // y = 0: the kernel widens and narrows every number, also the odd ones.
  at::Tensor x =
      at::tensor({0.0f, -0.0f, 1e-40f, 3.3e38f, -3.3e38f, 1.00390625f}, at::kFloat).to(at::kBFloat16).view({1, 1, 6});
  at::Tensor sum = x.clone();
  const at::Tensor y = at::tensor({1.0f, 1.0f, 0.0f, 3.3e38f, -3.3e38f, 0.00390625f}).to(at::kBFloat16).view({1, 1, 6});
  const at::Tensor expected = (x.to(at::kFloat) + y.to(at::kFloat)).to(at::kBFloat16);
  cpu::add_gated_(sum, y, at::ones({1, 6}));
  BOOST_TEST(identical(sum, expected));
}

BOOST_DATA_TEST_CASE(modulated_norm_takes_one_or_several_groups,
                     data::make({at::kFloat, at::kBFloat16, at::kHalf}) * data::make({1, 3, 21}), dtype, groups) {
  const int64_t batch = 2, tokens = 21, dim = 34;
  const at::Tensor x = randn({batch, tokens, dim}, 10, dtype) * 2 + 0.5;
  const at::Tensor scale = randn({groups, dim}, 11), shift = randn({groups, dim}, 12);
  const at::Tensor wide = x.to(at::kDouble);
  const at::Tensor centred = wide - wide.mean(-1, true);
  const at::Tensor normalised = centred / at::sqrt(centred.square().mean(-1, true) + 1e-6);
  const auto per_token = [&](const at::Tensor& t) { return t.repeat_interleave(tokens / groups, 0).to(at::kDouble); };
  const at::Tensor result = modulated_norm(x, scale, shift, 1e-6);
  BOOST_TEST((result.scalar_type() == dtype));
  BOOST_TEST(relative_error(result, normalised * per_token(scale) + per_token(shift)) <=
             (dtype == at::kFloat ? kFp32 : kBf16));
}

BOOST_AUTO_TEST_CASE(rms_norm_is_what_its_formula_says) {
  at::Tensor x = randn({1, 5, 14}, 13);
  const at::Tensor wide = x.to(at::kDouble), weight = randn({14}, 14);
  rms_norm_(x, weight, 1e-3);
  BOOST_TEST(relative_error(x, wide / at::sqrt(wide.square().mean(-1, true) + 1e-3) * weight) <= kFp32);
}

BOOST_AUTO_TEST_CASE(uneven_groups_and_short_tables_are_refused) {
  const at::Tensor x = at::ones({1, 7, 4});
  expect_error({"7 tokens", "3 groups"}, [&] { modulated_norm(x, at::ones({3, 4}), at::ones({3, 4}), 1e-6); });
  expect_error({"7 tokens", "3 groups"}, [&] {
    at::Tensor target = x.clone();
    add_gated_(target, x, at::ones({3, 4}));
  });
  expect_error({"6 positions", "7"}, [&] {
    at::Tensor heads = at::ones({1, 7, 1, 4});
    apply_rotary_(heads, random_table(6, 4));
  });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
