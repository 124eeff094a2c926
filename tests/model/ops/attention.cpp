// SPDX-License-Identifier: Apache-2.0
#include "model/ops/attention.h"

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

struct Inputs {
  at::Tensor query = randn({2, 37, 3, 20}, 1), key = randn({2, 53, 3, 20}, 2), value = randn({2, 53, 3, 20}, 3);
};

// By the definition, in fp64.
at::Tensor softmax_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                             const at::Tensor& bias) {
  const auto heads_first = [](const at::Tensor& x) { return x.transpose(1, 2).to(at::kDouble); };
  const at::Tensor scores =
      at::matmul(heads_first(query), heads_first(key).transpose(2, 3)) / std::sqrt(double(query.size(3))) + bias;
  return at::matmul(at::softmax(scores, -1), heads_first(value)).transpose(1, 2).to(at::kFloat);
}

BOOST_AUTO_TEST_SUITE(attention)

BOOST_AUTO_TEST_CASE(parts_make_the_whole) {
  const Inputs in;
  const at::Tensor whole = softmax_attention(in.query, in.key, in.value, at::zeros({53}, at::kDouble));
  for (const std::vector<int64_t>& cuts : {std::vector<int64_t>{0, 53}, {0, 1, 53}, {0, 20, 20, 31, 53}}) {
    PartialAttention attention;
    for (size_t i = 0; i + 1 < cuts.size(); ++i)
      attention.add(in.query, in.key.slice(1, cuts[i], cuts[i + 1]), in.value.slice(1, cuts[i], cuts[i + 1]));
    BOOST_TEST(relative_error(attention.result(), whole) < 1e-5);
  }
}

BOOST_AUTO_TEST_CASE(parts_with_large_scores_stay_finite) {
  Inputs in;
  in.query = in.query * 40;
  in.key = in.key * 40;
  const at::Tensor whole = softmax_attention(in.query, in.key, in.value, at::zeros({53}, at::kDouble));
  PartialAttention attention;
  attention.add(in.query, in.key.slice(1, 0, 10), in.value.slice(1, 0, 10));
  attention.add(in.query, in.key.slice(1, 10), in.value.slice(1, 10));
  BOOST_TEST(relative_error(attention.result(), whole) < 1e-3);
}

BOOST_AUTO_TEST_CASE(a_bias_moves_weight_between_parts) {
  const Inputs in;
  at::Tensor bias = at::zeros({53}, at::kDouble);
  bias.slice(0, 20).fill_(1.5);
  const at::Tensor whole = softmax_attention(in.query, in.key, in.value, bias);
  PartialAttention attention;
  attention.add(in.query, in.key.slice(1, 0, 20), in.value.slice(1, 0, 20));
  attention.add(in.query, in.key.slice(1, 20), in.value.slice(1, 20), 1.5);
  BOOST_TEST(relative_error(attention.result(), whole) < 1e-5);
}

BOOST_AUTO_TEST_CASE(bf16_parts_are_merged_in_fp32) {
  const Inputs in;
  const auto narrow = [](const at::Tensor& x) { return x.to(at::kBFloat16); };
  const at::Tensor whole =
      softmax_attention(narrow(in.query), narrow(in.key), narrow(in.value), at::zeros({53}, at::kDouble));
  PartialAttention attention;
  for (int64_t i = 0; i < 53; i += 5)
    attention.add(narrow(in.query), narrow(in.key).slice(1, i, std::min<int64_t>(53, i + 5)),
                  narrow(in.value).slice(1, i, std::min<int64_t>(53, i + 5)));
  BOOST_TEST(attention.result().scalar_type() == at::kBFloat16);
  BOOST_TEST(relative_error(attention.result().to(at::kFloat), whole) < 1e-2);
}

BOOST_AUTO_TEST_CASE(no_keys_is_an_error) {
  const Inputs in;
  PartialAttention attention;
  attention.add(in.query, in.key.slice(1, 0, 0), in.value.slice(1, 0, 0));
  expect_error<Error>({"no keys"}, [&] { attention.result(); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
