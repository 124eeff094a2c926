// SPDX-License-Identifier: Apache-2.0
#include "harness/simulator/share_sweep.h"

#include <functional>

namespace dualparal {

std::vector<std::pair<std::string, Cluster>> share_sweep(const Cluster& cluster) {
  using Scale = std::function<void(Cluster&, double)>;
  const std::vector<std::pair<std::string, Scale>> parts{
      {"matmul", [](Cluster& c, double by) { c.efficiency.matmul *= by; }},
      {"attention", [](Cluster& c, double by) { c.efficiency.attention *= by; }},
      {"memory", [](Cluster& c, double by) { c.efficiency.memory *= by; }},
      {"links",
       [](Cluster& c, double by) {
         for (LinkSpec* link : {&c.device_link, &c.host_link, &c.to_host_link, &c.node_link, &c.adapter_link})
           link->bytes_per_s *= by;
       }},
  };
  std::vector<std::pair<std::string, Cluster>> corners;
  for (const auto& [name, scale] : parts)
    for (const double sign : {-1.0, 1.0}) {
      Cluster corner = cluster;
      scale(corner, 1 + sign * cluster.efficiency.range);
      corners.emplace_back(name + (sign < 0 ? " low" : " high"), corner);
    }
  return corners;
}

}  // namespace dualparal
