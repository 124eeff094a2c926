// SPDX-License-Identifier: Apache-2.0
// Named ranges for Nsight Systems. Without a profiler a range costs one load and one branch.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <string>

namespace dualparal {

/// True when a profiler listens (an NVTX injection library is loaded).
bool nvtx_enabled();

/// A range from here to the end of the scope, on this thread's NVTX stack:
///   NvtxRange range("step {}", step);
class NvtxRange {
 public:
  template <class... Args>
  explicit NvtxRange(fmt::format_string<Args...> name, Args&&... args) : pushed_(nvtx_enabled()) {
    if (pushed_) push(fmt::format(name, std::forward<Args>(args)...).c_str());
  }
  /// With a name that is made only if a profiler listens.
  template <std::invocable MakeName>
  explicit NvtxRange(MakeName&& name) : pushed_(nvtx_enabled()) {
    if (pushed_) push(std::string(name()).c_str());
  }
  ~NvtxRange() {
    if (pushed_) pop();
  }
  NvtxRange(const NvtxRange&) = delete;
  NvtxRange& operator=(const NvtxRange&) = delete;

 private:
  static void push(const char* name);
  static void pop();
  bool pushed_;
};

}  // namespace dualparal
