// SPDX-License-Identifier: Apache-2.0
// A described cluster (configs/clusters/*.yaml): how fast its devices compute and how fast bytes travel between them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/measure/work_meter.h"

namespace dualparal {

struct LinkSpec {
  double bytes_per_s = 0;  ///< in each direction; 0: there is no such link
  double latency_s = 0;
};

/// Shares of the device's rates that are reached.
struct Efficiency {
  std::string basis;  ///< "assumed", or "calibrated" (docs/simulation.md)
  double matmul = 1, attention = 1, convolution = 1, memory = 1;
  double range = 0.2;               ///< how far each share, and each link's bandwidth, may be off either way, of itself
  double operation_s = 0;           ///< host time to start an operation
  bool operation_overlaps = false;  ///< operations are started ahead while the device works (GPUs)
};

struct Cluster {
  std::string file;
  std::string name, description;
  int64_t nodes = 1, devices_per_node = 1;

  std::string device_name;
  int64_t device_memory_bytes = 0;            ///< 0: not limited
  int64_t device_reserved_bytes = 0;          ///< of it, what the runtime and fragmentation take
  std::map<std::string, double> flops_per_s;  ///< dense, by dtype, accumulated in fp32
  double memory_bytes_per_s = 0;
  Efficiency efficiency;

  LinkSpec device_link;  ///< between a device and the others of its node
  LinkSpec host_link;  ///< shared by all transfers of a node, each of which crosses it twice; 0: devices talk directly
  LinkSpec
      to_host_link;    ///< between a device and its node's memory, in each direction; 0: it is device_link, see below
  LinkSpec node_link;  ///< a node's network, in each direction; 0: devices have adapters of their own alone
  LinkSpec adapter_link;      ///< a device's own way into the network, in each direction; 0: devices have none
  double message_s = 0;       ///< time that a send, and a receive, takes from the device
  double message_byte_s = 0;  ///< the same for each of its bytes, where the device itself moves them (ranks on CPUs)

  std::vector<std::string> sources;

  int64_t devices() const { return nodes * devices_per_node; }
  /// Seconds that a send, or a receive, takes from the device.
  double message_busy_s(double bytes) const { return message_s + bytes * message_byte_s; }
  /// Seconds that a copy of so many bytes to or from host memory takes from the device itself: where the cluster has
  /// neither to_host_link nor host_link, its devices are processors, whose memory is the host's. Else none: it travels
  /// over the first of these, or over device_link where devices talk through the host.
  double host_copy_busy_s(double bytes) const;
  /// Seconds that a device computes. Error if the cluster does not say how fast `dtype` is.
  double compute_seconds(const Work& work, const std::string& dtype) const;
};

/// Error if the file cannot be read, UsageError that names file, line and key for what is missing, unknown or
/// impossible.
Cluster read_cluster(const std::filesystem::path& file);

/// The cluster as a YAML file that read_cluster() reads.
std::string cluster_yaml(const Cluster& cluster);

}  // namespace dualparal
