// SPDX-License-Identifier: Apache-2.0
// A device that is not there: it has a stream with a clock of its own, events, and faults when told to. LibTorch's
// interface for devices, registered for the type that is left for such things.
#pragma once

#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>

namespace dualparal::testing {

class FakeDevice final : public c10::impl::DeviceGuardImplInterface {
 public:
  static constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;
  static c10::Device device() { return {kType, 0}; }
  /// The one that LibTorch asks, as new.
  static FakeDevice& fresh() {
    static auto* const one = [] {
      auto* const made = new FakeDevice;  // LibTorch keeps it for ever
      c10::impl::device_guard_impl_registry[static_cast<size_t>(kType)].store(made);
      return made;
    }();
    one->given_ms_ = one->done_ms_ = 0;
    one->waits_ = 0;
    one->faulty_ = false;
    return *one;
  }

  /// Gives its stream work that takes so long.
  void give(double milliseconds) { given_ms_ += milliseconds; }
  /// Lets it work for so long.
  void run(double milliseconds) { done_ms_ = std::min(given_ms_, done_ms_ + milliseconds); }
  /// From now on it answers with an error, as CUDA does after an illegal access.
  void fault() { faulty_ = true; }
  /// How often the host has waited for its stream.
  int waits() const { return waits_; }

  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device) const override { return device(); }
  c10::Device getDevice() const override { return device(); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return c10::Stream(c10::Stream::DEFAULT, device()); }
  c10::Stream exchangeStream(c10::Stream) const override { return c10::Stream(c10::Stream::DEFAULT, device()); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }

  void record(void** event, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {
    answer();
    if (!*event) *event = new double;
    *static_cast<double*>(*event) = given_ms_;
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override { delete static_cast<double*>(event); }
  bool queryEvent(void* event) const override {
    answer();
    return *static_cast<double*>(event) <= done_ms_;
  }
  void synchronizeEvent(void* event) const override {
    answer();
    done_ms_ = std::max(done_ms_, *static_cast<double*>(event));
  }
  void synchronizeStream(const c10::Stream&) const override {
    answer();
    ++waits_;
    done_ms_ = given_ms_;
  }
  double elapsedTime(void* first, void* second, const c10::DeviceIndex) const override {
    return *static_cast<double*>(second) - *static_cast<double*>(first);
  }

 private:
  void answer() const {
    if (faulty_) throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 700, "CUDA error: an illegal access");
  }

  double given_ms_ = 0;         // when its stream will have done all
  mutable double done_ms_ = 0;  // when it is now
  mutable int waits_ = 0;
  bool faulty_ = false;
};

}  // namespace dualparal::testing
