// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace dualparal {

/// Which of two values is the better one.
enum class Better {
  kLower,
  kHigher,
  kNearOne,  ///< the one nearer to 1: of ratios
  kNeither,  ///< more or less, and nothing else
};

struct QualityFigure {
  std::string name;   ///< in the object `quality` of a result line: docs/metrics.md
  std::string title;  ///< of a report's column
  int digits;
  Better better;
};

/// The figures of `quality` that reports show, in their order.
const std::vector<QualityFigure>& quality_figures();

}  // namespace dualparal
