// SPDX-License-Identifier: Apache-2.0
// How fast a device is at what a transformer needs, measured in a few seconds.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace dualparal {

/// Medians over the rounds of a measurement.
struct DeviceRates {
  std::map<std::string, double> product_flops_per_s;              ///< by dtype; a multiply-add counts as two
  double attention_flops_per_s = 0, convolution_flops_per_s = 0;  ///< in the dtype asked for
  double copy_bytes_per_s = 0;                                    ///< read and written together
  double operation_s = 0;  ///< what the host takes to start an operation on next to nothing
};

/// Measures each for `seconds`, on this rank's threads. dtype: "fp32", "bf16" or "fp16".
DeviceRates measure_device(const at::Device& device, const std::string& dtype, double seconds);

nlohmann::ordered_json to_json(const DeviceRates& rates);
DeviceRates device_rates_of(const nlohmann::ordered_json& json);

/// Of several ranks that measured at the same time: the median of each rate.
DeviceRates median_rates(const std::vector<DeviceRates>& by_rank);

}  // namespace dualparal
