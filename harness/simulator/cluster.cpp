// SPDX-License-Identifier: Apache-2.0
#include "harness/simulator/cluster.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "base/errors.h"
#include "base/nearest.h"
#include "base/yaml_file.h"

namespace dualparal {
namespace {

constexpr int64_t kMostDevices = 1024;
constexpr double kMostWhole = 1LL << 53;  // larger ones are not whole in a double

class ClusterReader {
 public:
  explicit ClusterReader(const std::filesystem::path& file) : file_(file.string()) {}

  Cluster read() const {
    try {
      return read(load_yaml(file_));
    } catch (const YAML::Exception& error) {  // a key that is a list, for instance
      fail("{}:{}: {}", file_, error.mark.line + 1, error.msg);
    }
  }

 private:
  Cluster read(const YAML::Node& root) const {
    expect_keys(root, {"name", "description", "nodes", "devices_per_node", "device", "efficiency", "links", "sources"});
    Cluster cluster;
    cluster.file = file_;
    cluster.name = text(root, "name");
    if (root["description"]) cluster.description = text(root, "description");
    cluster.nodes = whole(root, "nodes", 1);
    cluster.devices_per_node = whole(root, "devices_per_node", 1);
    read_device(required(root, "device"), cluster);
    read_efficiency(required(root, "efficiency"), cluster.efficiency);
    read_links(required(root, "links"), cluster);
    if (root["sources"])
      for (const auto& source : root["sources"]) cluster.sources.push_back(source.as<std::string>());
    check_usage(cluster.nodes == 1 || cluster.node_link.bytes_per_s > 0 || cluster.adapter_link.bytes_per_s > 0,
                "{}: {} nodes need links.node, links.adapter or both", file_, cluster.nodes);
    check_usage(cluster.devices() <= kMostDevices, "{}: {} devices, expected at most {}: each pair of them has a route",
                file_, cluster.devices(), kMostDevices);
    return cluster;
  }

  std::string at(const YAML::Node& node) const { return fmt::format("{}:{}", file_, node.Mark().line + 1); }

  void expect_keys(const YAML::Node& node, const std::set<std::string>& keys) const {
    check_usage(node.IsMap(), "{}: expected a map with {}", at(node), fmt::join(keys, ", "));
    for (const auto& item : node)
      check_usage(keys.contains(item.first.as<std::string>()), "{}: unknown key '{}'{}; there are: {}", at(item.first),
                  item.first.as<std::string>(), did_you_mean(item.first.as<std::string>(), {keys.begin(), keys.end()}),
                  fmt::join(keys, ", "));
  }

  YAML::Node required(const YAML::Node& node, const char* key) const {
    check_usage(bool(node[key]), "{}: '{}' is missing", at(node), key);
    return node[key];
  }

  std::string text(const YAML::Node& node, const char* key) const {
    const YAML::Node value = required(node, key);
    check_usage(value.IsScalar() && !value.as<std::string>().empty(), "{}: '{}' expected a text", at(value), key);
    return value.as<std::string>();
  }

  // A positive number; zero is accepted where there is a fallback.
  double number(const YAML::Node& node, const char* key, std::optional<double> fallback = {}) const {
    if (fallback && !node[key]) return *fallback;
    const YAML::Node value = required(node, key);
    double result = 0;
    check_usage(
        value.IsScalar() && YAML::convert<double>::decode(value, result) && result >= 0 && (fallback || result > 0),
        "{}: '{}' expected a {} number", at(value), key, fallback ? "non-negative" : "positive");
    return result;
  }

  int64_t whole(const YAML::Node& node, const char* key, int64_t minimum, int64_t most = kMostDevices) const {
    const double value = number(node, key);
    check_usage(value >= static_cast<double>(minimum) && value == std::floor(value),
                "{}: '{}' expected a whole number of at least {}", at(node[key]), key, minimum);
    check_usage(value <= static_cast<double>(most), "{}: '{}' expected at most {}, got {}", at(node[key]), key, most,
                value);
    return static_cast<int64_t>(value);
  }

  int64_t bytes(const YAML::Node& node, const char* key) const {
    const double value = number(node, key, 0);
    if (value > kMostWhole)
      fail("{}: '{}' expected at most {:.0f} bytes, got {}", at(node[key]), key, kMostWhole, value);
    return std::llround(value);
  }

  void read_device(const YAML::Node& node, Cluster& cluster) const {
    expect_keys(node, {"name", "memory_bytes", "reserved_bytes", "flops_per_s", "memory_bytes_per_s"});
    cluster.device_name = text(node, "name");
    cluster.device_memory_bytes = bytes(node, "memory_bytes");
    cluster.device_reserved_bytes = bytes(node, "reserved_bytes");
    check_usage(cluster.device_reserved_bytes <= cluster.device_memory_bytes,
                "{}: 'reserved_bytes' {} of 'memory_bytes' {}", at(node), cluster.device_reserved_bytes,
                cluster.device_memory_bytes);
    cluster.memory_bytes_per_s = number(node, "memory_bytes_per_s");
    const YAML::Node rates = required(node, "flops_per_s");
    expect_keys(rates, {"fp32", "bf16", "fp16"});
    for (const auto& item : rates) {
      const auto dtype = item.first.as<std::string>();
      cluster.flops_per_s[dtype] = number(rates, dtype.c_str());
    }
  }

  void read_efficiency(const YAML::Node& node, Efficiency& e) const {
    expect_keys(
        node, {"basis", "matmul", "attention", "convolution", "memory", "range", "operation_s", "operation_overlaps"});
    e.basis = text(node, "basis");
    check_usage(e.basis.starts_with("assumed") || e.basis.starts_with("calibrated"),
                "{}: 'basis' expected 'assumed ...' or 'calibrated ...'", at(node["basis"]));
    e.matmul = number(node, "matmul");
    e.attention = number(node, "attention");
    e.convolution = node["convolution"] ? number(node, "convolution") : 1;
    e.memory = number(node, "memory");
    if (node["range"]) e.range = number(node, "range", 0);
    check_usage(e.range < 1, "{}: 'range' expected less than 1", at(node));
    e.operation_s = number(node, "operation_s", 0);
    if (node["operation_overlaps"])
      check_usage(YAML::convert<bool>::decode(node["operation_overlaps"], e.operation_overlaps),
                  "{}: expected true or false", at(node["operation_overlaps"]));
  }

  void read_links(const YAML::Node& node, Cluster& cluster) const {
    expect_keys(node, {"device", "host", "to_host", "node", "adapter", "message_s", "message_byte_s"});
    cluster.device_link = link(required(node, "device"));
    if (node["host"]) cluster.host_link = link(node["host"]);
    if (node["to_host"]) cluster.to_host_link = link(node["to_host"]);
    if (node["node"]) cluster.node_link = link(node["node"]);
    if (node["adapter"]) cluster.adapter_link = link(node["adapter"]);
    cluster.message_s = number(node, "message_s", 0);
    cluster.message_byte_s = number(node, "message_byte_s", 0);
  }

  LinkSpec link(const YAML::Node& node) const {
    expect_keys(node, {"bytes_per_s", "latency_s"});
    return {number(node, "bytes_per_s"), number(node, "latency_s", 0)};
  }

  std::string file_;
};

}  // namespace

double Cluster::host_copy_busy_s(double bytes) const {
  if (to_host_link.bytes_per_s > 0 || host_link.bytes_per_s > 0) return 0;
  return 2 * bytes / (memory_bytes_per_s * efficiency.memory);  // read and written
}

double Cluster::compute_seconds(const Work& work, const std::string& dtype) const {
  const auto rate = flops_per_s.find(dtype);
  check(rate != flops_per_s.end(), "{}: device.flops_per_s has no {}", file, dtype);
  const double device = work.matmul_flops / (rate->second * efficiency.matmul) +
                        work.attention_flops / (rate->second * efficiency.attention) +
                        work.convolution_flops / (rate->second * efficiency.convolution) +
                        work.moved_bytes / (memory_bytes_per_s * efficiency.memory);
  const double host = static_cast<double>(work.operations) * efficiency.operation_s;
  return efficiency.operation_overlaps ? std::max(device, host) : device + host;
}

Cluster read_cluster(const std::filesystem::path& file) { return ClusterReader(file).read(); }

}  // namespace dualparal
