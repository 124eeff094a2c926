// SPDX-License-Identifier: Apache-2.0
#include "model/ops/rotary.h"

#include <cmath>

#include "model/ops/ops.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

at::Tensor rotated(const at::Tensor& x, const RotaryTable& table) {
  at::Tensor result = x.clone();
  apply_rotary_(result, table);
  return result;
}

// Attention scores of every query with every key: [query, key].
at::Tensor scores(const at::Tensor& query, const at::Tensor& key, const RotaryTable& table) {
  return at::matmul(rotated(query, table)[0].squeeze(1), rotated(key, table)[0].squeeze(1).t());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(model_rotary)

BOOST_DATA_TEST_CASE(pairs_keep_their_length, data::make({2, 8, 20, 24, 128}), head_dim) {
  const TokenGrid grid{3, 2, 5};
  const RotaryTable table = RotaryEmbedding(head_dim, 64).table(grid, 0, at::kCPU);
  BOOST_TEST(table.tokens() == grid.tokens());
  const at::Tensor x = randn({2, grid.tokens(), 3, head_dim}, 1);
  const auto lengths = [](const at::Tensor& t) { return t.unflatten(-1, {-1, 2}).square().sum(-1); };
  BOOST_TEST(relative_error(lengths(rotated(x, table)), lengths(x)) < 1e-6);
}

BOOST_AUTO_TEST_CASE(the_first_token_is_not_turned) {
  const RotaryTable table = RotaryEmbedding(24, 64).table({2, 3, 4}, 0, at::kCPU);
  const at::Tensor x = randn({1, 24, 2, 24}, 2);
  const at::Tensor turned = rotated(x, table);
  BOOST_TEST(at::equal(turned.select(1, 0), x.select(1, 0)));
  for (int64_t token = 1; token < 24; ++token) BOOST_TEST(!at::equal(turned.select(1, token), x.select(1, token)));
}

BOOST_AUTO_TEST_CASE(scores_depend_on_relative_positions_alone) {
  const RotaryEmbedding rotary(20, 1024);
  const TokenGrid grid{3, 2, 4};
  const at::Tensor query = randn({1, grid.tokens(), 1, 20}, 3), key = randn({1, grid.tokens(), 1, 20}, 4);
  const at::Tensor here = scores(query, key, rotary.table(grid, 0, at::kCPU));
  BOOST_TEST(relative_error(scores(query, key, rotary.table(grid, 500, at::kCPU)), here) < 1e-5);
  // The same query and key one step apart along each axis: the three distances are told apart.
  const at::Tensor same = scores(query.select(1, 0).unsqueeze(1).expand_as(query),
                                 key.select(1, 0).unsqueeze(1).expand_as(key), rotary.table(grid, 0, at::kCPU));
  const auto token = [&](int64_t f, int64_t h, int64_t w) { return (f * grid.height + h) * grid.width + w; };
  const double frame = same[token(1, 1, 1)][token(0, 1, 1)].item<double>();
  const double row = same[token(1, 1, 1)][token(1, 0, 1)].item<double>();
  const double column = same[token(1, 1, 1)][token(1, 1, 0)].item<double>();
  BOOST_TEST(std::abs(frame - row) > 1e-3);
  BOOST_TEST(std::abs(row - column) > 1e-3);
  BOOST_TEST(same[token(2, 0, 3)][token(1, 0, 3)].item<double>() == frame, boost::test_tools::tolerance(1e-4));
}

BOOST_AUTO_TEST_CASE(a_later_window_continues_the_table) {
  const RotaryEmbedding rotary(20, 64);
  const TokenGrid whole{7, 2, 3};
  const RotaryTable all = rotary.table(whole, 0, at::kCPU);
  const RotaryTable tail = rotary.table({4, 2, 3}, 3, at::kCPU);
  const RotaryTable cut = all.cut(3 * whole.frame_tokens(), whole.tokens());
  BOOST_TEST(identical(tail.cos, cut.cos));
  BOOST_TEST(identical(tail.sin, cut.sin));
}

// Angles of a position's temporal pairs, from the formula: 10000^(-2(j-1)/n) a frame, the k-th 0.9 * 2 pi / L_test.
std::vector<double> temporal_angles(int64_t channels, double position, int64_t k, double length) {
  std::vector<double> angles;
  for (int64_t j = 1; j <= channels / 2; ++j) {
    const double usual = std::pow(10000.0, -2.0 * double(j - 1) / double(channels));
    angles.push_back(position * (j == k ? 0.9 * 2 * M_PI / length : usual));
  }
  return angles;
}

BOOST_AUTO_TEST_CASE(riflex_lowers_one_temporal_frequency) {
  const TokenGrid grid{65, 2, 3};
  const RotaryEmbedding rotary(128, 1024);  // 44 temporal channels
  const RotaryTable usual = rotary.table(grid, 0, at::kCPU);
  for (const int64_t k : {4, 6}) {
    const RotaryTable scaled = rotary.table(grid, 0, at::kCPU, {k, 65});
    for (const int64_t frame : {0, 1, 33, 64}) {
      const auto angles = temporal_angles(44, double(frame), k, 65);
      for (int64_t j = 0; j < 22; ++j) {
        BOOST_TEST(std::abs(scaled.cos[frame * 6 + 5][j].item<double>() - std::cos(angles[j])) < 1e-6);
        BOOST_TEST(std::abs(scaled.sin[frame * 6 + 5][j].item<double>() - std::sin(angles[j])) < 1e-6);
      }
    }
    BOOST_TEST(identical(scaled.cos.slice(1, 22), usual.cos.slice(1, 22)));  // rows and columns
    BOOST_TEST(identical(scaled.sin.slice(1, 22), usual.sin.slice(1, 22)));
    BOOST_TEST(!identical(scaled.cos, usual.cos));
  }
}

BOOST_AUTO_TEST_CASE(riflex_never_raises_a_frequency) {
  const TokenGrid grid{33, 1, 2};
  const RotaryEmbedding rotary(128, 1024);
  const RotaryTable usual = rotary.table(grid, 0, at::kCPU);
  BOOST_TEST(identical(rotary.table(grid, 0, at::kCPU, {6, 33}).cos, usual.cos));  // 51 frames is its period
  BOOST_TEST(!identical(rotary.table(grid, 0, at::kCPU, {4, 33}).cos, usual.cos));
  BOOST_TEST(identical(rotary.table(grid, 0, at::kCPU, {0, 33}).cos, usual.cos));
  expect_error({"frequency 23", "22 temporal"}, [&] { rotary.table(grid, 0, at::kCPU, {23, 33}); });
}

BOOST_AUTO_TEST_CASE(riflex_takes_the_frequency_that_bounds_the_length_trained_on) {
  BOOST_TEST(riflex_index(128, 21) == 4);  // Wan: periods 6.3, 9.5, 14.5, 22.1, 33.5, 51.0
  BOOST_TEST(riflex_index(128, 22) == 4);
  BOOST_TEST(riflex_index(128, 23) == 5);
  BOOST_TEST(riflex_index(32, 9) == 2);  // the embedded model: 6.3, 29.2
  BOOST_TEST(riflex_index(32, 1000000) == 0);
  BOOST_TEST(temporal_frequencies(128) == 22);
}

BOOST_AUTO_TEST_CASE(positions_past_the_models_are_refused) {
  const RotaryEmbedding rotary(20, 16);
  BOOST_CHECK_NO_THROW(rotary.table({16, 16, 16}, 0, at::kCPU));
  expect_error({"rope_max_seq_len = 16", "17 x 1 x 1"}, [&] { rotary.table({17, 1, 1}, 0, at::kCPU); });
  expect_error({"rope_max_seq_len = 16"}, [&] { rotary.table({1, 17, 1}, 0, at::kCPU); });
  expect_error({"rope_max_seq_len = 16"}, [&] { rotary.table({1, 1, 17}, 0, at::kCPU); });
  expect_error({"from frame 12", "position 16"}, [&] { rotary.table({5, 1, 1}, 12, at::kCPU); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
