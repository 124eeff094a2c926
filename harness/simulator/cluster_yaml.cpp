// SPDX-License-Identifier: Apache-2.0
#include <yaml-cpp/yaml.h>

#include "harness/simulator/cluster.h"

namespace dualparal {

std::string cluster_yaml(const Cluster& c) {
  YAML::Emitter out;
  out.SetDoublePrecision(6);
  const auto number = [&](const char* key, double value) { out << YAML::Key << key << YAML::Value << value; };
  const auto text = [&](const char* key, const std::string& value) {
    out << YAML::Key << key << YAML::Value << YAML::DoubleQuoted << value;
  };
  const auto link = [&](const char* key, const LinkSpec& spec) {
    if (spec.bytes_per_s == 0) return;
    out << YAML::Key << key << YAML::Value << YAML::Flow << YAML::BeginMap;
    number("bytes_per_s", spec.bytes_per_s);
    number("latency_s", spec.latency_s);
    out << YAML::EndMap;
  };
  out << YAML::Comment("SPDX-License-Identifier: Apache-2.0") << YAML::BeginMap;
  text("name", c.name);
  if (!c.description.empty()) text("description", c.description);
  out << YAML::Key << "nodes" << YAML::Value << c.nodes << YAML::Key << "devices_per_node" << YAML::Value
      << c.devices_per_node;
  out << YAML::Key << "device" << YAML::Value << YAML::BeginMap;
  text("name", c.device_name);
  if (c.device_memory_bytes > 0) out << YAML::Key << "memory_bytes" << YAML::Value << c.device_memory_bytes;
  if (c.device_reserved_bytes > 0) out << YAML::Key << "reserved_bytes" << YAML::Value << c.device_reserved_bytes;
  out << YAML::Key << "flops_per_s" << YAML::Value << YAML::Flow << YAML::BeginMap;
  for (const auto& [dtype, rate] : c.flops_per_s) number(dtype.c_str(), rate);
  out << YAML::EndMap;
  number("memory_bytes_per_s", c.memory_bytes_per_s);
  out << YAML::EndMap << YAML::Key << "efficiency" << YAML::Value << YAML::BeginMap;
  text("basis", c.efficiency.basis);
  number("matmul", c.efficiency.matmul);
  number("attention", c.efficiency.attention);
  number("convolution", c.efficiency.convolution);
  number("memory", c.efficiency.memory);
  number("operation_s", c.efficiency.operation_s);
  number("range", c.efficiency.range);
  out << YAML::Key << "operation_overlaps" << YAML::Value << c.efficiency.operation_overlaps;
  out << YAML::EndMap << YAML::Key << "links" << YAML::Value << YAML::BeginMap;
  link("device", c.device_link);
  link("host", c.host_link);
  link("to_host", c.to_host_link);
  link("node", c.node_link);
  link("adapter", c.adapter_link);
  number("message_s", c.message_s);
  if (c.message_byte_s > 0) number("message_byte_s", c.message_byte_s);
  out << YAML::EndMap;
  if (!c.sources.empty()) out << YAML::Key << "sources" << YAML::Value << c.sources;
  out << YAML::EndMap << YAML::Newline;
  return out.c_str();
}

}  // namespace dualparal
