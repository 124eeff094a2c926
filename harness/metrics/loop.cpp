// SPDX-License-Identifier: Apache-2.0
#include "harness/metrics/loop.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "harness/metrics/number.h"

namespace dualparal {
namespace {

constexpr int64_t kCells = 16;    // of the longer side
constexpr int64_t kFraction = 4;  // a change of one level; the products of 16 x 16 x 3 of them fit into 32 bits
constexpr double kTrivial = 0.5;  // smooth motion is like itself at short lags: until it rises again from below this

/// What changed from one picture to the next, less its mean in each channel: a change of brightness is no motion.
std::vector<int16_t> change_between(const Picture& before, const Picture& after) {
  std::array<double, 3> means{};
  const size_t values = after.rgb.size();
  for (size_t i = 0; i < values; ++i) means[i % 3] += after.rgb[i] - before.rgb[i];
  for (double& mean : means) mean /= static_cast<double>(values) / 3;
  std::vector<int16_t> change(values);
  for (size_t i = 0; i < values; ++i)
    change[i] = static_cast<int16_t>(std::lround(kFraction * (after.rgb[i] - before.rgb[i] - means[i % 3])));
  return change;
}

int32_t product(const std::vector<int16_t>& a, const std::vector<int16_t>& b) {
  int32_t sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<int32_t>(a[i]) * static_cast<int32_t>(b[i]);
  return sum;
}

}  // namespace

void LoopMeter::push(const Picture& picture) {
  Picture small = shrink(picture, kCells);
  if (frames_++ > 1) {
    Kept now{change_between(last_, small), 0};
    now.squares = product(now.change, now.change);
    ++changes_;
    for (size_t i = 0; i < kept_.size(); ++i) {
      Lag& lag = lags_[i + 1];
      lag.products += product(now.change, kept_[i].change);
      lag.squares_now += now.squares;
      lag.squares_then += kept_[i].squares;
    }
    kept_.push_front(std::move(now));
    if (kept_.size() > kLongestLag) kept_.pop_back();
  }
  last_ = std::move(small);
}

std::optional<LoopMeter::Loop> LoopMeter::highest() const {
  std::optional<Loop> best;
  bool fallen = false, beyond = false;
  double previous = 1;
  for (int64_t i = 1; i <= std::min(kLongestLag, changes_ / 2); ++i) {
    const Lag& lag = lags_[static_cast<size_t>(i)];
    const double norm = std::sqrt(lag.squares_now * lag.squares_then);
    if (norm == 0) continue;
    const double correlation = lag.products / norm;
    beyond |= fallen && correlation > previous;
    fallen |= correlation < kTrivial;
    previous = correlation;
    if (beyond && (!best || correlation > best->correlation)) best = {correlation, i};
  }
  return best;
}

nlohmann::json LoopMeter::result() const {
  const auto loop = highest();
  return {{"loop", number(loop ? std::optional(loop->correlation) : std::nullopt)},
          {"loop_lag_frames", loop ? nlohmann::json(loop->lag) : nlohmann::json(nullptr)}};
}

}  // namespace dualparal
