// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

namespace dualparal {

/// Mean of independent samples, and half the width of its 95 % confidence interval by Student's t distribution with
/// n - 1 degrees of freedom. NaN: the mean of no sample, the interval of fewer than two.
struct MeanInterval {
  double mean, half_width;
};
MeanInterval mean_interval(const std::vector<double>& samples);

/// The middle value, or the mean of the two middle ones; NaN of none.
double median(std::vector<double> values);

/// The smallest of the values that at least this part of them, 0 < part <= 1, do not exceed; NaN of none.
double percentile(std::vector<double> values, double part);

}  // namespace dualparal
