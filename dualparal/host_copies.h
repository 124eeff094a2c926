// SPDX-License-Identifier: Apache-2.0
// Copies between a device and its host's memory, on a stream of their own: one after the other, beside what the device
// computes. On a CPU, and with shapes alone, a copy is made when it is begun.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/Event.h>

#include <functional>
#include <optional>
#include <vector>

#include "comm/recorder.h"

namespace dualparal {

class HostCopies {
 public:
  /// When a copy is made that a CPU makes. Whatever its user does between begin() and wait() must be right at either
  /// end of what a stream is free to do; tests take the later one.
  enum class Moment { kBegin, kWait };

  HostCopies(Recorder& recorder, const at::Device& device, Moment moment = Moment::kBegin);
  /// Waits for what is under way.
  ~HostCopies();
  HostCopies(const HostCopies&) = delete;
  HostCopies& operator=(const HostCopies&) = delete;

  /// One of a pair is on the device, the other in host memory; same shape, [batch, ...], contiguous but for the batch.
  struct Copy {
    at::Tensor to, from;
  };
  /// Begins them behind all that the current stream was given so far. Neither may be written before wait(), nor the
  /// target read or either freed. kind: Event::Kind::kToHost or kFromHost.
  void begin(Event::Kind kind, const std::vector<Copy>& copies);
  /// What the current stream is given from now on finds all that were begun done. The host does not wait.
  void wait();
  /// The host waits: host memory can be read.
  void finish();

 private:
  void make(const std::vector<Copy>& copies) const;
  void make_late();

  Recorder& recorder_;
  at::Device device_;
  Moment moment_;
  std::optional<c10::Stream> stream_;  // none: of a CPU, or of shapes alone
  std::optional<c10::Event> newest_;   // behind the newest copy
  bool open_ = false;                  // begun, and not waited for
  std::vector<std::vector<Copy>> late_;
};

}  // namespace dualparal
