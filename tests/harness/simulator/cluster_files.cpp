// SPDX-License-Identifier: Apache-2.0
// Cluster files: those of the repository, and what is refused.
#include <filesystem>
#include <fstream>

#include "tests/harness/simulator/instant_cluster.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace fs = std::filesystem;
namespace {

BOOST_AUTO_TEST_SUITE(cluster_files)

BOOST_AUTO_TEST_CASE(clusters_in_the_repository_can_be_read) {
  for (const auto& file : fs::directory_iterator("configs/clusters")) {
    const Cluster cluster = read_cluster(file.path());
    BOOST_TEST(cluster.devices() > 1);
    BOOST_TEST(cluster.compute_seconds({.matmul_flops = 1e12}, "bf16") > 0);
  }
}

// Their devices are those of the machines that published times were calibrated to.
BOOST_AUTO_TEST_CASE(larger_clusters_have_the_devices_of_one_machine) {
  const auto text_of = [](Cluster cluster) {  // but for the nodes and what is between them
    cluster.name = cluster.description = "";
    cluster.nodes = 1;
    cluster.node_link = cluster.adapter_link = {};
    cluster.sources.clear();
    return cluster_yaml(cluster);
  };
  for (const auto& [large, one] : {std::pair("2x8-h100", "8x-h100"),
                                   {"8x8-h100", "8x-h100"},
                                   {"64x8-h100", "8x-h100"},
                                   {"8x8-rtx4090", "8x-rtx4090"}})
    BOOST_TEST(text_of(read_cluster(fmt::format("configs/clusters/{}.yaml", large))) ==
               text_of(read_cluster(fmt::format("configs/clusters/{}.yaml", one))));
}

BOOST_AUTO_TEST_CASE(a_cluster_file_is_not_guessed_at) {
  const TempFolder folder;
  const auto refused = [&](const std::string& from, const std::string& to, const std::vector<std::string>& words) {
    std::string text = cluster_yaml(instant(2));
    const size_t place = text.find(from);
    BOOST_REQUIRE(place != std::string::npos);
    std::ofstream(folder / "c.yaml") << text.replace(place, from.size(), to);
    expect_error(words, [&] { read_cluster(folder / "c.yaml"); });
  };
  refused("matmul: 1", "matmul: -1", {"c.yaml", "matmul", "positive"});
  refused("matmul: 1", "matmull: 1", {"c.yaml", "matmull", "unknown"});
  refused("\"assumed\"", "\"sure\"", {"basis", "assumed", "calibrated"});
  refused("nodes: 1", "nodes: 2", {"2 nodes", "links.node", "links.adapter"});
  refused("nodes: 1", "nodes: 1.5", {"nodes", "whole"});
  refused("devices_per_node: 2\n", "", {"devices_per_node", "missing"});
  refused("name: \"instant\"", "name: [", {"c.yaml", "YAML"});
  refused("devices_per_node: 2", "devices_per_node: 65536", {"c.yaml", "devices_per_node", "1024", "65536"});
  refused("nodes: 1\ndevices_per_node: 2", "nodes: 600\ndevices_per_node: 600", {"c.yaml", "links.node"});
  refused("name: \"device\"", "name: \"device\"\n  memory_bytes: 9223372036854775808",
          {"c.yaml", "memory_bytes", "at most 9007199254740992"});
  refused("name: \"instant\"", "[a, b]: 1\nname: \"instant\"", {"c.yaml:"});
  expect_error({"none.yaml", "cannot read"}, [&] { read_cluster(folder / "none.yaml"); });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace dualparal::testing
