// SPDX-License-Identifier: Apache-2.0
#include "harness/metrics/drift.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"

namespace dualparal {

DriftMeter::DriftMeter(int64_t total_frames, double unit) : total_(total_frames), unit_(unit) {
  const int64_t length = std::max<int64_t>(1, (total_ + 5) / 10);
  windows_[kFirst] = {0, length, {}, {}};
  windows_[kSecond] = {length, std::min(2 * length, total_), {}, {}};
  windows_[kLast] = {total_ - length, total_, {}, {}};
}

void DriftMeter::push(const at::Tensor& frame) {
  check(next_ < total_, "drift: more than the {} frames that were announced", total_);
  at::Tensor sum, squares;
  for (Window& window : windows_) {
    if (next_ < window.begin || next_ >= window.end) continue;
    if (!sum.defined()) {
      const at::Tensor values = frame.to(at::kDouble);
      sum = values.sum(1);
      squares = values.square().sum(1);
    }
    window.sum = window.sum.defined() ? window.sum + sum : sum;
    window.squares = window.squares.defined() ? window.squares + squares : squares;
    window.values += frame.size(1);
  }
  ++next_;
}

std::optional<double> DriftMeter::distance(WindowName a, WindowName b) const {
  if (total_ < 2 || next_ < windows_[a].end || next_ < windows_[b].end) return std::nullopt;
  const auto mean = [&](WindowName name) { return windows_[name].sum / windows_[name].values; };
  const auto deviation = [&](WindowName name) {
    return (windows_[name].squares / windows_[name].values - mean(name).square()).clamp_min(0).sqrt();
  };
  const at::Tensor squared = (mean(a) - mean(b)).square() + (deviation(a) - deviation(b)).square();
  return std::sqrt(squared.mean().item<double>()) / unit_;
}

}  // namespace dualparal
