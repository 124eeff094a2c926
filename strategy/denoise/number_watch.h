// SPDX-License-Identifier: Apache-2.0
// Whether a rank's predictions are finite, and if not, which was the first.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "base/errors.h"
#include "comm/recorder.h"

namespace dualparal {

/// Latents that hold NaN or infinity. Which prediction was the first to do so, NumberWatch knows.
class NotFiniteError : public Error {
 public:
  using Error::Error;
};

/// Looks at all predictions that the thread that made it uses, as long as it lives. One at a time per thread.
class NumberWatch {
 public:
  /// recorder: says what a prediction belongs to. hint: ends the error, may be empty.
  NumberWatch(const Recorder& recorder, const at::Device& device, std::string hint);
  ~NumberWatch();
  NumberWatch(const NumberWatch&) = delete;
  NumberWatch& operator=(const NumberWatch&) = delete;

  /// Shows a prediction to this thread's watch, if there is one, before it is used. Denoiser's samplers do; who steps
  /// without them does it himself. Error at once on a CPU, at check() on a GPU.
  static void show(const at::Tensor& prediction);
  /// Error that names the block and step of the first prediction that was not finite. Waits for the device.
  void check() const;

 private:
  void restart();
  void see(const at::Tensor& prediction);
  [[noreturn]] void refuse(const std::string& activity) const;

  const Recorder& recorder_;
  at::Device device_;
  std::string hint_;
  std::vector<at::Tensor> sums_;         // [kSums] fp32 each
  std::vector<std::string> activities_;  // that the sums belong to, one after the other
};

}  // namespace dualparal
