// SPDX-License-Identifier: Apache-2.0
#include "comm/stream_clock.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <chrono>

#include "base/device.h"

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
  return static_cast<int64_t>(seconds_.size() + pending_.size()) - 1;
}

// From one mark to the next: a device gives times as fp32, which are exact enough only while they are short.
int64_t StreamClock::passed() {
  while (!pending_.empty() && pending_.front().query()) {
    const c10::Event& before = last_ ? *last_ : begin_->event;
    const double elapsed = before.elapsedTime(pending_.front()) * kMillisecond;
    seconds_.push_back((seconds_.empty() ? 0 : seconds_.back()) + elapsed);
    last_.emplace(std::move(pending_.front()));
    pending_.pop_front();
  }
  return static_cast<int64_t>(seconds_.size());
}

std::vector<double> StreamClock::read() {
  if (!has_streams_ || !begin_) return seconds_;
  const Anchor end = anchor();
  passed();
  const c10::Event& before = last_ ? *last_ : begin_->event;
  const double device_s = (seconds_.empty() ? 0 : seconds_.back()) + before.elapsedTime(end.event) * kMillisecond;
  const double host_s = end.host_s - begin_->host_s;
  const double rate = device_s > kDriftShows ? host_s / device_s : 1;
  std::vector<double> out;
  for (const double seconds : seconds_) out.push_back(begin_->host_s + seconds * rate);
  return out;
}

}  // namespace dualparal
