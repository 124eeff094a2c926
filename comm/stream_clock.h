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
  /// Seconds on event_clock() of every mark. Waits for the device.
  std::vector<double> read();

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
  std::vector<double> seconds_;     // of what was passed: host's clock, or with streams the device's since begin_
};

}  // namespace dualparal
