// SPDX-License-Identifier: Apache-2.0
#include "harness/record/statistics.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <numeric>

namespace dualparal {

MeanInterval mean_interval(const std::vector<double>& samples) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  if (samples.empty()) return {nan, nan};
  const auto n = static_cast<double>(samples.size());
  const double mean = std::accumulate(samples.begin(), samples.end(), 0.0) / n;
  if (samples.size() < 2) return {mean, nan};
  double squares = 0;
  for (const double value : samples) squares += (value - mean) * (value - mean);
  const double t = boost::math::quantile(boost::math::students_t(n - 1), 0.975);
  return {mean, t * std::sqrt(squares / (n - 1) / n)};
}

double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

double percentile(std::vector<double> values, double part) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  return values[static_cast<size_t>(std::clamp(std::ceil(part * count) - 1, 0.0, count - 1))];
}

}  // namespace dualparal
