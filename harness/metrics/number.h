// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>

#include "base/json.h"

namespace dualparal {

/// As result lines have it: null stands for what does not apply.
inline nlohmann::json number(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

/// Empty without both, and of nothing.
inline std::optional<double> ratio(const std::optional<double>& numerator, const std::optional<double>& denominator) {
  if (!numerator || !denominator || *denominator == 0) return std::nullopt;
  return *numerator / *denominator;
}

struct Mean {
  double sum = 0;
  int64_t count = 0;
  void add(double value) { sum += value, ++count; }
  Mean operator+(const Mean& other) const { return {sum + other.sum, count + other.count}; }
  std::optional<double> value() const { return count ? std::optional(sum / static_cast<double>(count)) : std::nullopt; }
};

}  // namespace dualparal
