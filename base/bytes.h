// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace dualparal {

/// Bytes as GiB, 2^30 of them each: how people read memory.
inline double gib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

}  // namespace dualparal
