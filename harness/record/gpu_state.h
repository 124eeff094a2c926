// SPDX-License-Identifier: Apache-2.0
// What a GPU's own tool says of its clocks, power and temperature.
#pragma once

#include <string>

#include "base/json.h"

namespace dualparal {

/// Of the GPU at this PCI address ("00000000:19:00.0"), now, as `nvidia-smi` tells: sm_clock_mhz, sm_clock_limit_mhz,
/// memory_clock_mhz, power_w, power_limit_w, temperature_c. Null each that it does not tell, all where there is no such
/// tool. Starts a process: not to be called while a clock is running.
nlohmann::ordered_json gpu_state(const std::string& pci_address);

}  // namespace dualparal
