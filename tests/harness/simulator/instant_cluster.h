// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "harness/simulator/cluster.h"

namespace dualparal::testing {

/// One machine whose links take no time, and whose devices move and compute 1e9 a second.
inline Cluster instant(int64_t devices) {
  Cluster cluster;
  cluster.name = "instant";
  cluster.device_name = "device";
  cluster.devices_per_node = devices;
  cluster.device_link = {1e18, 0};
  cluster.memory_bytes_per_s = 1e9;
  cluster.flops_per_s = {{"fp32", 1e9}};
  cluster.efficiency.basis = "assumed";
  return cluster;
}

}  // namespace dualparal::testing
