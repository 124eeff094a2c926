// SPDX-License-Identifier: Apache-2.0
// The CPU kernels against plain ATen operations, at sizes that are no multiple of anything, on rows that do not lie
// side by side.
#include "model/ops/ops.h"

#include "base/measure/work_meter.h"
#include "tests/model/ops/op_cases.h"

namespace dualparal::testing {
namespace {

const std::vector<OpCase> kCases = op_cases();

HeadNorm norm_of(const OpCase& c, bool normalises) {
  return normalises ? HeadNorm{randn({c.heads * c.head_dim}, 2, c.dtype), 1e-6} : HeadNorm{};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(model_ops)

BOOST_DATA_TEST_CASE(rms_norm_equals_its_formula, data::make(kCases) * data::make({0, 1, 2}), c, which) {
  at::Tensor ours = fused_slice(c, which, 1);
  at::Tensor aten = ours.clone();
  const at::Tensor weight = randn({c.heads * c.head_dim}, 2, c.dtype);
  const at::Tensor expected = normalised(ours, weight, 1e-6);
  rms_norm_(ours, weight, 1e-6);
  reference::norm_rotary(aten, {weight, 1e-6}, {}, aten);
  BOOST_TEST(relative_error(ours, expected) <= c.tolerance);
  BOOST_TEST(relative_error(aten, expected) <= c.tolerance);
}

// In place, and out of a slice into another.
BOOST_DATA_TEST_CASE(norm_and_rotary_equal_their_formula, data::make(kCases) * data::make({false, true}), c,
                     normalises) {
  const HeadNorm norm = norm_of(c, normalises);
  const RotaryTable table = random_table(c.tokens, c.head_dim);
  for (const int64_t which : {0, 1}) {
    at::Tensor ours = by_head(fused_slice(c, which, 3), c), apart = by_head(fused_slice(c, 2, 4), c);
    at::Tensor aten = ours.clone();
    const at::Tensor before = ours.clone();
    const at::Tensor expected =
        turned(normalises ? by_head(normalised(ours.flatten(2), norm.weight, norm.eps), c) : ours, table);
    norm_rotary(ours, norm, table, apart);
    BOOST_TEST(identical(ours, before));
    norm_rotary(ours, norm, table, ours);
    reference::norm_rotary(aten, norm, table, aten);
    BOOST_TEST(relative_error(ours, expected) <= c.tolerance);
    BOOST_TEST(identical(apart, ours));
    // ATen rounds in between.
    BOOST_TEST(relative_error(aten, expected) <= (normalises ? 2 : 1) * c.tolerance);
  }
}

BOOST_DATA_TEST_CASE(a_gated_addition_equals_its_formula, data::make(kCases) * data::make({1, 7}), c, groups) {
  if (c.tokens % groups != 0) return;
  const int64_t dim = c.heads * c.head_dim;
  at::Tensor ours = randn({c.batch, c.tokens, dim}, 4, c.dtype);
  at::Tensor aten = ours.clone(), strided = fused_slice(c, 1, 5);
  const at::Tensor y = fused_slice(c, 2, 5), gate = randn({groups, dim}, 6);
  const at::Tensor expected = ours.to(at::kDouble) + y.to(at::kDouble) * per_token(gate, c.tokens);
  const at::Tensor strided_expected = strided.to(at::kDouble) + y.to(at::kDouble) * per_token(gate, c.tokens);
  add_gated_(ours, y, gate);
  add_gated_(strided, y, gate);
  reference::add_gated_(aten, y, gate);
  BOOST_TEST(relative_error(ours, expected) <= c.tolerance);
  BOOST_TEST(relative_error(strided, strided_expected) <= c.tolerance);
  BOOST_TEST(relative_error(aten, expected) <= c.tolerance);
}

BOOST_DATA_TEST_CASE(a_modulated_norm_equals_its_formula, data::make(kCases) * data::make({1, 7}), c, groups) {
  if (c.tokens % groups != 0) return;
  const int64_t dim = c.heads * c.head_dim;
  const at::Tensor x = fused_slice(c, 1, 10) * 2 + 0.5, scale = randn({groups, dim}, 11),
                   shift = randn({groups, dim}, 12);
  const at::Tensor expected = layer_normalised(x, 1e-6) * per_token(scale, c.tokens) + per_token(shift, c.tokens);
  const at::Tensor ours = modulated_norm(x, scale, shift, 1e-6);
  BOOST_TEST((ours.scalar_type() == c.dtype));
  BOOST_TEST(ours.is_contiguous());
  BOOST_TEST(relative_error(ours, expected) <= 2 * c.tolerance);
  BOOST_TEST(relative_error(reference::modulated_norm(x, scale, shift, 1e-6), expected) <= 2 * c.tolerance);
}

BOOST_AUTO_TEST_CASE(equal_groups_are_one) {
  const at::Tensor x = randn({2, 21, 34}, 1, at::kBFloat16), scale = randn({1, 34}, 2), shift = randn({1, 34}, 3);
  BOOST_TEST(identical(modulated_norm(x, scale.repeat({3, 1}), shift.repeat({3, 1}), 1e-6),
                       modulated_norm(x, scale, shift, 1e-6)));
}

// Two parts of the keys, and a part that joins nothing.
BOOST_DATA_TEST_CASE(merged_attention_equals_its_formula, data::make(kCases), c) {
  const std::vector<int64_t> by_head_first{c.batch, c.heads, c.tokens, c.head_dim};
  at::Tensor output = randn(by_head_first, 20).transpose(1, 2);
  at::Tensor weight = (randn({c.batch, c.heads, c.tokens, 1}, 21) * 5).transpose(1, 2);
  const at::Tensor part = by_head(fused_slice(c, 1, 22), c), part_weight = randn(weight.sizes(), 23) * 5;
  weight.select(1, 0).fill_(-INFINITY);
  const at::Tensor a = weight.to(at::kDouble).exp(), b = part_weight.to(at::kDouble).exp();
  const at::Tensor expected = (output * a + part * b) / (a + b), expected_weight = (a + b).log();
  at::Tensor aten = output.clone(), aten_weight = weight.clone();
  merge_attention_(output, weight, part, part_weight);
  reference::merge_attention_(aten, aten_weight, part, part_weight);
  for (const auto& [numbers, sums] : {std::pair(output, weight), {aten, aten_weight}}) {
    BOOST_TEST(relative_error(numbers, expected) <= 2e-6);
    BOOST_TEST(relative_error(sums, expected_weight) <= 2e-6);
  }
}

BOOST_AUTO_TEST_CASE(kernels_touch_their_own_slice_only) {
  const OpCase c{at::kBFloat16, 2, 13, 3, 10, 0};
  const int64_t dim = c.heads * c.head_dim;
  at::Tensor fused = randn({c.batch, c.tokens, 3 * dim}, 7, c.dtype);
  const at::Tensor before = fused.clone();
  at::Tensor key = fused.slice(-1, dim, 2 * dim);
  rms_norm_(key, randn({dim}, 8), 1e-6);
  at::Tensor heads = by_head(key, c);
  apply_rotary_(heads, random_table(c.tokens, c.head_dim));
  add_gated_(key, key.clone(), randn({1, dim}, 9));
  BOOST_TEST(identical(fused.slice(-1, 0, dim), before.slice(-1, 0, dim)));
  BOOST_TEST(identical(fused.slice(-1, 2 * dim), before.slice(-1, 2 * dim)));
  BOOST_TEST(!at::equal(fused.slice(-1, dim, 2 * dim), before.slice(-1, dim, 2 * dim)));
}

BOOST_DATA_TEST_CASE(narrowing_rounds_as_aten_does, data::make({at::kBFloat16, at::kHalf}), dtype) {
  // y = 0: the kernel widens and narrows every number, also the odd ones.
  const float large = dtype == at::kHalf ? 6e4f : 3.3e38f;
  at::Tensor x = at::tensor({0.0f, -0.0f, 1e-40f, large, -large, 1.00390625f}, at::kFloat).to(dtype).view({1, 1, 6});
  at::Tensor sum = x.clone();
  const at::Tensor y = at::tensor({1.0f, 1.0f, 0.0f, large, -large, 0.00390625f}).to(dtype).view({1, 1, 6});
  const at::Tensor expected = (x.to(at::kFloat) + y.to(at::kFloat)).to(dtype);
  add_gated_(sum, y, at::ones({1, 6}));
  BOOST_TEST(identical(sum, expected));
}

BOOST_AUTO_TEST_CASE(each_counts_what_it_reads_and_writes_once) {
  const int64_t n = 2 * 6 * 20;
  at::Tensor x = randn({2, 6, 20}, 1, at::kBFloat16);
  const auto moved = [&](const auto& action) {
    const WorkMeter meter;
    action();
    BOOST_TEST(WorkMeter::now().operations == 1);
    return WorkMeter::now().moved_bytes;
  };
  const at::Tensor y = x.clone(), weight = randn({20}, 2, at::kBFloat16), gate = randn({3, 20}, 3);
  const RotaryTable table = random_table(6, 10);
  BOOST_TEST(moved([&] { rms_norm_(x, weight, 1e-6); }) == n * 4 + 20 * 2);
  BOOST_TEST(moved([&] { modulated_norm(x, gate, gate, 1e-6); }) == n * 4 + 2 * 60 * 4);
  BOOST_TEST(moved([&] { add_gated_(x, y, gate); }) == n * 6 + 60 * 4);
  at::Tensor heads = x.unflatten(-1, {2, 10});
  BOOST_TEST(moved([&] { norm_rotary(heads, {weight, 1e-6}, table, heads); }) == n * 4 + 20 * 2 + 2 * 30 * 4);
  at::Tensor wide = randn({2, 6, 2, 10}, 4), sums = randn({2, 6, 2, 1}, 5);
  const at::Tensor sums_of_part = randn({2, 6, 2, 1}, 6);
  BOOST_TEST(moved([&] { merge_attention_(wide, sums, heads, sums_of_part); }) == n * 10 + 24 * 12);
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
