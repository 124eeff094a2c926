// SPDX-License-Identifier: Apache-2.0
// How much work the operations of a piece of code are: counted from what is dispatched, on any device, meta tensors
// too.
#pragma once

#include <cstdint>
#include <memory>

namespace dualparal {

/// Work by kind of operation. A multiply-add counts as two floating-point operations.
struct Work {
  double matmul_flops = 0;     ///< matrix products
  double attention_flops = 0;  ///< fused attention: scores and weighted values
  double convolution_flops = 0;
  double moved_bytes = 0;  ///< read and written by all other operations
  int64_t operations = 0;  ///< of any kind that touch numbers (views do not)

  double flops() const { return matmul_flops + attention_flops + convolution_flops; }
  Work& operator+=(const Work& other);
  friend Work operator-(Work a, const Work& b);
};

/// Counts the operations that the thread that made it dispatches, as long as it lives. One at a time per thread.
class WorkMeter {
 public:
  WorkMeter();
  ~WorkMeter();
  WorkMeter(const WorkMeter&) = delete;
  WorkMeter& operator=(const WorkMeter&) = delete;

  /// All that this thread has done under its meter so far; zeros without one.
  static Work now();
  /// For kernels that are not dispatched operations: bytes that they read and write.
  static void note_kernel(int64_t moved_bytes);

 private:
  uint64_t handle_;
};

}  // namespace dualparal
