// SPDX-License-Identifier: Apache-2.0
#include "base/measure/nvtx.h"

#include <cstdlib>

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define DUALPARAL_HAS_NVTX 1
#endif

namespace dualparal {

bool nvtx_enabled() {
#ifdef DUALPARAL_HAS_NVTX
  // Profilers announce themselves by this variable before the program starts (NVTX's own rule).
  static const bool enabled = std::getenv("NVTX_INJECTION64_PATH") != nullptr;
  return enabled;
#else
  return false;
#endif
}

#ifdef DUALPARAL_HAS_NVTX
void NvtxRange::push(const char* name) { nvtxRangePushA(name); }
void NvtxRange::pop() { nvtxRangePop(); }
#else
void NvtxRange::push(const char*) {}
void NvtxRange::pop() {}
#endif

}  // namespace dualparal
