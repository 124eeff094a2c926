// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/number_watch.h"

#include <algorithm>
#include <cmath>

namespace dualparal {
namespace {

constexpr int64_t kSums = 1024;           // of a tensor: made seldom, so that the allocator has nothing to do with each
constexpr int64_t kMostKept = 8 * kSums;  // then a GPU is waited for: seldom, and memory does not grow

thread_local NumberWatch* watching = nullptr;

}  // namespace

NumberWatch::NumberWatch(const Recorder& recorder, const at::Device& device, std::string hint)
    : recorder_(recorder), device_(device), hint_(std::move(hint)) {
  dualparal::check(watching == nullptr, "this thread's predictions are watched already");
  sums_.push_back(at::empty({kSums}, at::TensorOptions().device(device_)));
  watching = this;
}

NumberWatch::~NumberWatch() { watching = nullptr; }

void NumberWatch::show(const at::Tensor& prediction) {
  if (watching) watching->see(prediction);
}

// NaN and infinity stay in a sum: one pass over what a transformer has just computed tells of them. On a GPU the host
// would have to wait for the sum, in the time that is being measured: there it is written into a tensor of the device
// for later.
void NumberWatch::see(const at::Tensor& prediction) {
  if (static_cast<int64_t>(activities_.size()) == kMostKept) restart();
  const auto place = static_cast<int64_t>(activities_.size());
  if (place == kSums * static_cast<int64_t>(sums_.size())) sums_.push_back(at::empty_like(sums_[0]));
  activities_.push_back(recorder_.activity());
  at::Tensor sum = sums_.back()[place % kSums];
  at::sum_out(sum, prediction, at::IntArrayRef(), /*keepdim=*/false, at::kFloat);
  if (!device_.is_cpu()) return;
  if (!std::isfinite(sum.item<float>())) refuse(activities_.back());
  activities_.pop_back();  // nobody needs to ask for it
}

void NumberWatch::check() const {
  for (size_t i = 0; i < activities_.size(); i += kSums) {
    const at::Tensor sums = sums_[i / kSums].cpu();
    for (size_t j = i; j < std::min(activities_.size(), i + kSums); ++j)
      if (!std::isfinite(sums.const_data_ptr<float>()[j - i])) refuse(activities_[j]);
  }
}

// Checks, and forgets the predictions so far.
void NumberWatch::restart() {
  check();
  activities_.clear();
  sums_.resize(1);
}

void NumberWatch::refuse(const std::string& activity) const {
  fail("a prediction is not finite, it holds NaN or infinity: the first such one while {}{}", activity, hint_);
}

}  // namespace dualparal
