// SPDX-License-Identifier: Apache-2.0
// What the lanes of a CUDA block do, run one lane after the other on a CPU, phase by phase, against plain formulas: how
// rows are cut, read and written at sizes that are no multiple of anything. What is CUDA's own (the sum over a block,
// the launch) is not in it.
#include "cuda/add_gated.cu"
#include "cuda/merge_attention.cu"
#include "cuda/modulated_norm.cu"
#include "cuda/norm_rotary.cu"
#include "cuda/tensor_arguments.h"
#include "tests/model/ops/op_cases.h"

namespace dualparal::testing {
namespace {

using namespace kernels;

// All lanes of all tokens: work(lanes of a token, where each is).
template <class Lane, class Cut, class Arguments, class Work>
void for_tokens(const Arguments& a, int count, const Work& work) {
  const int lanes = lanes_for<Cut>(count);
  BOOST_TEST_REQUIRE(lanes <= 1024);
  for (int64_t batch = 0; batch < a.batch; ++batch)
    for (int64_t token = 0; token < a.tokens; ++token) {
      std::vector<Lane> all(lanes);
      std::vector<At> places;
      for (int lane = 0; lane < lanes; ++lane) places.push_back({batch, token, lane, lanes});
      work(all, places);
    }
}

// A phase of all lanes, and the sum of what they give.
template <class Lane, class Phase>
float sum(std::vector<Lane>& lanes, const std::vector<At>& places, const Phase& phase) {
  float total = 0;
  for (size_t i = 0; i < lanes.size(); ++i) total += phase(lanes[i], places[i]);
  return total;
}

void run(const NormRotary& a) {
  with_cut<2>(a.number, is_packed(a), [&](auto cut) {
    using Lane = NormRotaryLane<decltype(cut)>;
    for_tokens<Lane, decltype(cut)>(a, a.count, [&](auto& lanes, const auto& places) {
      const float squares = sum(lanes, places, [&](Lane& lane, const At& at) { return lane.read(a, at); });
      for (size_t i = 0; i < lanes.size(); ++i) lanes[i].write(a, places[i], squares);
    });
  });
}

void run(const ModulatedNorm& a) {
  with_cut<1>(a.number, is_packed(a), [&](auto cut) {
    using Lane = ModulatedNormLane<decltype(cut)>;
    for_tokens<Lane, decltype(cut)>(a, a.count, [&](auto& lanes, const auto& places) {
      const float all = sum(lanes, places, [&](Lane& lane, const At& at) { return lane.read(a, at); });
      const float squares = sum(lanes, places, [&](Lane& lane, const At& at) { return lane.centre(a, at, all); });
      for (size_t i = 0; i < lanes.size(); ++i) lanes[i].write(a, places[i], squares);
    });
  });
}

void run(const AddGated& a) {
  with_cut<1>(a.number, is_packed(a), [&](auto cut) {
    using Lane = AddGatedLane<decltype(cut)>;
    for_tokens<Lane, decltype(cut)>(a, a.count, [&](auto& lanes, const auto& places) {
      for (size_t i = 0; i < lanes.size(); ++i) lanes[i].run(a, places[i]);
    });
  });
}

void run(const MergeAttention& a) {
  with_cut<1>(a.number, is_packed(a), [&](auto cut) {
    using Lane = MergeAttentionLane<decltype(cut)>;
    for_tokens<Lane, decltype(cut)>(a, a.heads * a.head_dim, [&](auto& lanes, const auto& places) {
      for (size_t i = 0; i < lanes.size(); ++i) lanes[i].read(a, places[i]);
      for (size_t i = 0; i < lanes.size(); ++i) lanes[i].write(a, places[i]);
    });
  });
}

const std::vector<OpCase> kCases = op_cases();

// Those of Wan's width, as a layer has them, go the fast way.
bool is_wide(const OpCase& c) { return c.head_dim == 128; }

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_lanes)

BOOST_DATA_TEST_CASE(norm_and_rotary_equal_their_formula,
                     data::make(kCases) * data::make({0, 1, 2}) * data::make({false, true}), c, which, in_place) {
  const int64_t dim = c.heads * c.head_dim;
  const at::Tensor x = by_head(fused_slice(c, 1, 3), c), weight = randn({dim}, 2, c.dtype);
  const at::Tensor out = in_place ? x : by_head(fused_slice(c, 2, 4), c);
  const RotaryTable table = random_table(c.tokens, c.head_dim);
  const bool normalises = which != 1, rotates = which != 2;
  at::Tensor expected = normalises ? by_head(normalised(x.flatten(2), weight, 1e-6), c) : x.to(at::kDouble);
  if (rotates) expected = turned(expected, table);
  const NormRotary a =
      norm_rotary_arguments(x, normalises ? weight : at::Tensor(), 1e-6, rotates ? table.cos : at::Tensor(),
                            rotates ? table.sin : at::Tensor(), out);
  BOOST_TEST(is_packed(a) == is_wide(c));
  run(a);
  BOOST_TEST(relative_error(out, expected) <= c.tolerance);
}

BOOST_DATA_TEST_CASE(a_modulated_norm_equals_its_formula, data::make(kCases) * data::make({1, 7}), c, groups) {
  if (c.tokens % groups != 0) return;
  const int64_t dim = c.heads * c.head_dim;
  const at::Tensor x = fused_slice(c, 1, 10).mul_(2).add_(0.5), out = fused_slice(c, 2, 4);
  const at::Tensor scale = randn({groups, dim}, 11), shift = randn({groups, dim}, 12);
  const ModulatedNorm a = modulated_norm_arguments(x, scale, shift, 1e-6, out);
  BOOST_TEST(is_packed(a) == is_wide(c));
  const at::Tensor expected = layer_normalised(x, 1e-6) * per_token(scale, c.tokens) + per_token(shift, c.tokens);
  run(a);
  BOOST_TEST(relative_error(out, expected) <= 2 * c.tolerance);
}

BOOST_DATA_TEST_CASE(a_gated_addition_equals_its_formula, data::make(kCases) * data::make({1, 7}), c, groups) {
  if (c.tokens % groups != 0) return;
  const int64_t dim = c.heads * c.head_dim;
  const at::Tensor x = fused_slice(c, 0, 4), y = fused_slice(c, 1, 5), gate = randn({groups, dim}, 6);
  const at::Tensor expected = x.to(at::kDouble) + y.to(at::kDouble) * per_token(gate, c.tokens);
  const AddGated a = add_gated_arguments(x, y, gate);
  BOOST_TEST(is_packed(a) == is_wide(c));
  run(a);
  BOOST_TEST(relative_error(x, expected) <= c.tolerance);
}

BOOST_DATA_TEST_CASE(merged_attention_equals_its_formula, data::make(kCases), c) {
  const at::Tensor output = randn({c.batch, c.heads, c.tokens, c.head_dim}, 20).transpose(1, 2);
  const at::Tensor weight = (randn({c.batch, c.heads, c.tokens, 1}, 21) * 5).transpose(1, 2);
  const at::Tensor part = by_head(fused_slice(c, 1, 22), c), part_weight = randn(weight.sizes(), 23) * 5;
  weight.select(1, 0).fill_(-INFINITY);  // nothing has been seen yet
  const at::Tensor old = weight.to(at::kDouble).exp(), added = part_weight.to(at::kDouble).exp();
  const at::Tensor expected = (output * old + part * added) / (old + added), expected_weight = (old + added).log();
  const MergeAttention a = merge_attention_arguments(output, weight, part, part_weight);
  BOOST_TEST(is_packed(a) == is_wide(c));
  run(a);
  BOOST_TEST(relative_error(output, expected) <= 2e-6);
  BOOST_TEST(relative_error(weight, expected_weight) <= 2e-6);
}

BOOST_AUTO_TEST_CASE(other_numbers_are_refused) {
  const at::Tensor x = at::zeros({1, 2, 8}, at::kDouble), gate = at::zeros({1, 8});
  expect_error<c10::Error>({"fp32, bf16 or fp16", "Double"}, [&] { add_gated_arguments(x, x, gate); });
}

BOOST_AUTO_TEST_CASE(rows_of_wan_s_models_leave_no_lane_idle) {
  for (const int dim : {1536, 3072, 5120}) {
    const int lanes = lanes_for<Cut<c10::BFloat16, 8, 2, true>>(dim);
    BOOST_TEST(lanes * 16 == dim);
    BOOST_TEST(lanes <= 1024);
  }
  BOOST_TEST((lanes_for<Cut<float, 1, 8, false>>(8192)) == 1024);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
