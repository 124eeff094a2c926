// SPDX-License-Identifier: Apache-2.0
// `dualparal calibrate --probe`: measures devices and links, and describes them as a cluster for `simulate`.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "harness/probe/device_probe.h"
#include "harness/probe/link_probe.h"
#include "harness/simulator/cluster.h"

namespace dualparal {

struct ProbeOptions {
  std::string device = "cpu";
  std::string dtype = "fp32";  ///< that shares of the rates are of
  std::string backend = "gloo";
  int64_t nproc = 2;                  ///< ranks, a device each
  int64_t threads = 1;                ///< of a rank on CPUs
  double seconds = 0.4;               ///< for each rate
  std::filesystem::path output = {};  ///< cluster file; empty: none is written
};

/// A link that was measured, and whether its ends are on one machine.
struct ProbedLink {
  int64_t from = 0, to = 0;
  bool one_machine = true;
  LinkFigures figures;
};

/// What all ranks have measured.
struct Probe {
  std::string device_name, backend, dtype, date;
  int64_t nodes = 1, devices_per_node = 1;
  int64_t device_memory_bytes = 0;  ///< 0: not limited (a CPU)
  bool overlaps = false;            ///< operations are started ahead (a GPU)
  DeviceRates rates;
  std::vector<ProbedLink> links = {};  ///< none: one rank

  /// For people.
  std::string text() const;
  /// For `simulate`. Error without links: a cluster of one device has none to tell.
  Cluster cluster() const;
};

/// Measures: as one rank, or by starting `nproc` of them; rank 0 prints what was found and writes the cluster file.
void run_probe(const ProbeOptions& options);

}  // namespace dualparal
