// SPDX-License-Identifier: Apache-2.0
// Non-negative least squares of relative errors, for a few unknowns.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

namespace dualparal {

/// x >= 0 with the least sum of weights[r] (1 - rows[r] . x)^2, by coordinate descent: thousands of cheap rounds.
template <size_t N>
std::array<double, N> fit_ones(const std::vector<std::array<double, N>>& rows, const std::vector<double>& weights) {
  constexpr int kRounds = 20000;
  std::array<std::array<double, N>, N> products{};
  std::array<double, N> targets{}, x{};
  for (size_t r = 0; r < rows.size(); ++r)
    for (size_t i = 0; i < N; ++i) {
      targets[i] += weights[r] * rows[r][i];
      for (size_t j = 0; j < N; ++j) products[i][j] += weights[r] * rows[r][i] * rows[r][j];
    }
  for (int round = 0; round < kRounds; ++round)
    for (size_t i = 0; i < N; ++i) {
      if (products[i][i] <= 0) continue;
      double rest = targets[i];
      for (size_t j = 0; j < N; ++j)
        if (j != i) rest -= products[i][j] * x[j];
      x[i] = std::max(0.0, rest / products[i][i]);
    }
  return x;
}

/// x >= 0 with amounts[r] . x close to values[r], relative to it. values: positive.
template <size_t N>
std::array<double, N> fit_relative(const std::vector<std::array<double, N>>& amounts, const std::vector<double>& values,
                                   const std::vector<double>& weights) {
  // Columns of similar size, or the descent would crawl.
  std::array<double, N> scale{};
  std::vector<std::array<double, N>> rows = amounts;
  for (size_t r = 0; r < rows.size(); ++r)
    for (size_t i = 0; i < N; ++i) {
      rows[r][i] /= values[r];
      scale[i] = std::max(scale[i], rows[r][i]);
    }
  for (auto& row : rows)
    for (size_t i = 0; i < N; ++i)
      if (scale[i] > 0) row[i] /= scale[i];
  auto x = fit_ones(rows, weights);
  for (size_t i = 0; i < N; ++i) x[i] = scale[i] > 0 ? x[i] / scale[i] : 0;
  return x;
}

}  // namespace dualparal
