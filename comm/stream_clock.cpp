// SPDX-License-Identifier: Apache-2.0
#include "comm/stream_clock.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <chrono>

#include "base/device.h"
#include "base/errors.h"

namespace dualparal {
namespace {

constexpr int kRounds = 5;
constexpr double kMillisecond = 1e-3;  // the unit of elapsedTime()
// Two clocks drift apart by some millionths. Over less time than this the anchors themselves are less exact.
constexpr double kDriftShows = 1;

}  // namespace

double event_clock() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

StreamClock::StreamClock(const at::Device& device)
    : device_(device), has_streams_(!device.is_cpu() && !device.is_meta()) {}

c10::Event StreamClock::record() const {
  c10::Event event(device_.type(), c10::EventFlag::BACKEND_DEFAULT);  // PyTorch's own default has no times
  event.record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
  return event;
}

// The device is idle when an event is recorded between two looks at the host's clock: of some, the closest.
StreamClock::Anchor StreamClock::anchor() const {
  synchronize(device_);
  std::optional<Anchor> best;
  double closest = 0;
  for (int round = 0; round < kRounds; ++round) {
    const double before = event_clock();
    c10::Event event = record();
    event.synchronize();
    const double after = event_clock();
    if (best && after - before >= closest) continue;
    closest = after - before;
    best.emplace(Anchor{std::move(event), (before + after) / 2});
  }
  return std::move(*best);
}

void StreamClock::restart() {
  pending_.clear();
  seconds_.clear();
  forgotten_ = 0;
  newest_s_ = 0;
  last_.reset();
  begin_.reset();
  if (has_streams_) begin_.emplace(anchor());
}

int64_t StreamClock::mark() {
  if (has_streams_) {
    if (!begin_) restart();
    pending_.push_back(record());
  } else {
    seconds_.push_back(event_clock());
  }
  return forgotten_ + static_cast<int64_t>(seconds_.size() + pending_.size()) - 1;
}

// From one mark to the next: a device gives times as fp32, which are exact enough only while they are short.
int64_t StreamClock::passed() {
  while (!pending_.empty() && pending_.front().query()) {
    const c10::Event& before = last_ ? *last_ : begin_->event;
    newest_s_ += before.elapsedTime(pending_.front()) * kMillisecond;
    seconds_.push_back(newest_s_);
    last_.emplace(std::move(pending_.front()));
    pending_.pop_front();
  }
  return forgotten_ + static_cast<int64_t>(seconds_.size());
}

void StreamClock::forget_before(int64_t mark) {
  const auto count = static_cast<std::ptrdiff_t>(std::max<int64_t>(0, mark - forgotten_));
  seconds_.erase(seconds_.begin(), seconds_.begin() + count);
  forgotten_ += count;
}

ClockLine StreamClock::line() {
  if (!has_streams_ || !begin_) return {};
  const Anchor end = anchor();
  passed();
  const c10::Event& before = last_ ? *last_ : begin_->event;
  const double device_s = newest_s_ + before.elapsedTime(end.event) * kMillisecond;
  const double host_s = end.host_s - begin_->host_s;
  return {begin_->host_s, device_s > kDriftShows ? host_s / device_s : 1};
}

std::vector<double> StreamClock::read() {
  check(forgotten_ == 0, "times of all marks were asked for, of which {} are forgotten", forgotten_);
  const ClockLine line = this->line();
  std::vector<double> out;
  for (const double seconds : seconds_) out.push_back(line.at(seconds));
  return out;
}

}  // namespace dualparal
