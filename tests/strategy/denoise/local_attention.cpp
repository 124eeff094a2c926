// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/local_attention.h"

#include <cmath>

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

constexpr int64_t kBatch = 2, kHeads = 3, kHeadDim = 20;
const TokenGrid kGrid{3, 2, 4};

// Query, key and value as a layer hands them over: views of one fused tensor.
struct Projections {
  explicit Projections(uint64_t seed, at::ScalarType dtype = at::kFloat)
      : fused(randn({kBatch, kGrid.tokens(), 3 * kHeads * kHeadDim}, seed, dtype)) {}
  at::Tensor part(int64_t i) const { return fused.chunk(3, -1)[i].unflatten(-1, {kHeads, kHeadDim}); }
  at::Tensor fused;
};

at::Tensor attend(const Projections& in, const TokenGrid& grid = kGrid, int64_t first_frame = 0) {
  Projections copy = in;
  copy.fused = in.fused.clone();  // query and key may be overwritten
  const RotaryTable rotary = RotaryEmbedding(kHeadDim, 64).table(grid, first_frame, at::kCPU);
  return LocalAttention().attend({0, copy.part(0), copy.part(1), copy.part(2), rotary});
}

// Turns pair i of a token's channels by position * 10000^(-2i/n) along each axis: 8 channels for the frame, 6 for the
// row, 6 for the column.
at::Tensor turned(const at::Tensor& x) {
  at::Tensor result = x.to(at::kDouble).clone();
  for (int64_t token = 0; token < kGrid.tokens(); ++token) {
    const int64_t frame = token / 8, row = token / 4 % 2, column = token % 4;
    int64_t channel = 0;
    for (const auto& [position, channels] : {std::pair{frame, 8}, {row, 6}, {column, 6}})
      for (int64_t i = 0; i < channels; i += 2, channel += 2) {
        const double angle = static_cast<double>(position) * std::pow(10000.0, -static_cast<double>(i) / channels);
        const at::Tensor even = result.select(1, token).select(-1, channel).clone();
        const at::Tensor odd = result.select(1, token).select(-1, channel + 1).clone();
        result.select(1, token).select(-1, channel).copy_(even * std::cos(angle) - odd * std::sin(angle));
        result.select(1, token).select(-1, channel + 1).copy_(even * std::sin(angle) + odd * std::cos(angle));
      }
  }
  return result;
}

at::Tensor plain_attention(const Projections& in) {
  const at::Tensor query = turned(in.part(0)), key = turned(in.part(1)), value = in.part(2).to(at::kDouble);
  at::Tensor result = at::empty_like(value);
  for (int64_t b = 0; b < kBatch; ++b)
    for (int64_t h = 0; h < kHeads; ++h) {
      const auto of_head = [&](const at::Tensor& x) { return x[b].select(1, h); };  // [tokens, head_dim]
      const at::Tensor weights = (of_head(query).matmul(of_head(key).t()) / std::sqrt(double(kHeadDim))).exp();
      of_head(result).copy_(weights.matmul(of_head(value)) / weights.sum(-1, true));
    }
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(strategy_local_attention)

BOOST_AUTO_TEST_CASE(it_is_softmax_attention_of_turned_queries_and_keys) {
  const Projections in(1);
  BOOST_TEST(relative_error(attend(in), plain_attention(in)) < 1e-5);
  const Projections narrow(1, at::kBFloat16);
  BOOST_TEST((attend(narrow).scalar_type() == at::kBFloat16));
  BOOST_TEST(relative_error(attend(narrow), plain_attention(narrow)) < 0.03);
}

BOOST_AUTO_TEST_CASE(the_batch_s_halves_do_not_see_each_other) {
  const Projections in(1), other(2);
  Projections mixed = in;
  mixed.fused = at::stack({in.fused[0], other.fused[1]});
  const at::Tensor alone = attend(in), beside = attend(mixed);
  BOOST_TEST(relative_error(beside[0], alone[0]) < 1e-6);
  BOOST_TEST(relative_error(beside[1], attend(other)[1]) < 1e-6);
  BOOST_TEST(relative_error(beside[1], alone[1]) > 0.1);
}

BOOST_AUTO_TEST_CASE(every_token_sees_every_other) {
  const Projections in(1);
  const at::Tensor base = attend(in);
  for (const int64_t changed : {int64_t{0}, int64_t{11}, kGrid.tokens() - 1}) {
    Projections other = in;
    other.fused = in.fused.clone();
    other.fused.select(1, changed).neg_();
    const at::Tensor result = attend(other);
    for (int64_t token = 0; token < kGrid.tokens(); ++token)
      BOOST_TEST(relative_error(result.select(1, token), base.select(1, token)) > 1e-4);
  }
}

BOOST_AUTO_TEST_CASE(only_distances_count) {
  const Projections in(1);
  BOOST_TEST(relative_error(attend(in, kGrid, 40), attend(in)) < 1e-5);
}

BOOST_AUTO_TEST_CASE(another_number_of_positions_is_refused) {
  expect_error({"18 positions", "expected 24"}, [] { attend(Projections(1), {3, 2, 3}); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
