// SPDX-License-Identifier: Apache-2.0
// When a device got past a place in the work that it was given, without anybody having waited for it there.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/Event.h>

#include <deque>
#include <optional>
#include <vector>

namespace dualparal {

/// Seconds on the clock of all events: one clock for all ranks of a machine.
double event_clock();

/// What makes event_clock()'s seconds of a device's own.
struct ClockLine {
  double offset_s = 0, rate = 1;
  double at(double seconds) const { return offset_s + rate * seconds; }
};

/// Marks in the calling thread's current stream. On a CPU, and with shapes alone, a mark is the moment itself.
class StreamClock {
 public:
  explicit StreamClock(const at::Device& device);

  /// Forgets all marks. Waits for the device.
  void restart();
  /// Number of a new mark, counted from 0. Like all here, it throws what the device has to say of earlier work.
  int64_t mark();
  /// How many marks the device has got past, in their order; does not wait.
  int64_t passed();
  /// Seconds on event_clock() of every mark, none of which was forgotten. Waits for the device.
  std::vector<double> read();

  /// Of a mark that was passed, the device's own seconds: line() makes event_clock()'s of them.
  double own_seconds(int64_t mark) const { return seconds_.at(static_cast<size_t>(mark - forgotten_)); }
  /// Nobody will ask for marks before this one, which were passed: memory does not grow with them.
  void forget_before(int64_t mark);
  /// That of all marks so far. Waits for the device.
  ClockLine line();

 private:
  // A moment on both clocks.
  struct Anchor {
    c10::Event event;
    double host_s;
  };

  c10::Event record() const;
  Anchor anchor() const;

  at::Device device_;
  bool has_streams_;
  std::optional<Anchor> begin_;
  std::optional<c10::Event> last_;  // the newest one that was passed
  std::deque<c10::Event> pending_;  // not known to be passed
  // Of what was passed and is not forgotten: host's clock, or with streams the device's since begin_.
  std::deque<double> seconds_;
  int64_t forgotten_ = 0;
  double newest_s_ = 0;  // of last_
};

}  // namespace dualparal
