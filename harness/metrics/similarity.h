// SPDX-License-Identifier: Apache-2.0
// Is the same thing in frames that are far apart, wherever in the picture it is? VBench's subject consistency compares
// a frame with the one before it and with the first; Vchitect/VBench issue 206 asks for a curve over these distances.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "base/json.h"
#include "harness/metrics/number.h"
#include "harness/metrics/picture.h"

namespace dualparal {

/// What is in a picture, not where: shares of its colours, and of the directions of its edges. Each adds up to 1; edges
/// are all zero if there are none.
struct PictureContents {
  static constexpr int64_t kLevels = 4, kDirections = 8;
  std::array<double, kLevels * kLevels * kLevels> colours{};
  std::array<double, kDirections> edges{};
};
PictureContents contents_of(const Picture& picture);

/// 0 (nothing in common) to 1 (the same): mean of the Bhattacharyya coefficients of colours and of edges.
double similarity(const PictureContents& a, const PictureContents& b);

class SimilarityMeter {
 public:
  static constexpr std::array<int64_t, 5> kDistances = {2, 5, 10, 20, 50};  ///< frames

  /// The next frame. The first one is left out: it has a metric of its own.
  void push(const Picture& picture);

  /// `similarity_2` ... `similarity_50`: mean over all pairs of that distance; null if there is none.
  nlohmann::json result() const;

 private:
  int64_t frames_ = 0;
  std::deque<PictureContents> kept_;  // the newest first, as many as the longest distance
  std::array<Mean, kDistances.size()> means_;
};

}  // namespace dualparal
