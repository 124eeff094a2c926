// SPDX-License-Identifier: Apache-2.0
// What is made of the times of messages and of single operations.
#include "harness/probe/link_probe.h"

#include <fstream>

#include "harness/probe/device_probe.h"
#include "harness/probe/probe.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;

std::vector<LinkSample> samples_of(double start_s, double bytes_per_s) {
  std::vector<LinkSample> samples;
  for (const int64_t bytes : link_sizes())
    samples.push_back({bytes, start_s + static_cast<double>(bytes) / bytes_per_s});
  return samples;
}

Probe some_probe() {
  Probe probe{.device_name = "a device", .backend = "gloo", .dtype = "bf16", .date = "today", .rates = {}};
  probe.devices_per_node = 4;
  probe.rates = {.product_flops_per_s = {{"fp32", 1e12}, {"bf16", 8e12}},
                 .attention_flops_per_s = 4e12,
                 .convolution_flops_per_s = 2e12,
                 .copy_bytes_per_s = 5e11,
                 .operation_s = 3e-6};
  for (int64_t rank = 0; rank < 3; ++rank)
    probe.links.push_back(
        {rank, rank + 1, true, fit_link(samples_of(30e-6, 1e9 * static_cast<double>(rank + 1)), 5e-6)});
  return probe;
}

BOOST_AUTO_TEST_SUITE(probe)

BOOST_AUTO_TEST_CASE(latency_and_bandwidth_are_those_that_made_the_times) {
  const LinkFigures found = fit_link(samples_of(30e-6, 2e9), 5e-6);
  BOOST_TEST(found.latency_s == 25e-6, tt::tolerance(1e-6));
  BOOST_TEST(found.bytes_per_s == 2e9, tt::tolerance(1e-6));
  BOOST_TEST(found.post_s == 5e-6);
  expect_error({"two sizes"}, [] { fit_link({{4096, 1e-5}}, 0); });
  expect_error({"no bandwidth"}, [] { fit_link({{4096, 2e-5}, {8192, 1e-5}}, 0); });
}

BOOST_AUTO_TEST_CASE(two_ranks_of_this_process_measure_their_link) {
  const LinkFigures found = measure_gloo_here();
  BOOST_TEST_REQUIRE(found.samples.size() == 3U);
  for (size_t i = 0; i < 3; ++i) {
    BOOST_TEST(found.samples[i].seconds > 0);
    if (i > 0) BOOST_TEST(found.samples[i].bytes > found.samples[i - 1].bytes);
  }
  BOOST_TEST(found.bytes_per_s > 0);
}

BOOST_AUTO_TEST_CASE(a_device_has_all_rates) {
  const DeviceRates rates = measure_device(at::kCPU, "fp32", 0);
  BOOST_TEST(rates.product_flops_per_s.size() == 2U);  // fp16 only where asked for
  for (const auto& [dtype, rate] : rates.product_flops_per_s) BOOST_TEST(rate > 0);
  for (const double rate :
       {rates.attention_flops_per_s, rates.convolution_flops_per_s, rates.copy_bytes_per_s, rates.operation_s})
    BOOST_TEST(rate > 0);
  const DeviceRates read = device_rates_of(to_json(rates));
  BOOST_TEST(read.product_flops_per_s == rates.product_flops_per_s);
  BOOST_TEST(to_json(read).dump() == to_json(rates).dump());
}

BOOST_AUTO_TEST_CASE(ranks_that_measured_together_give_their_median) {
  DeviceRates fast = some_probe().rates, slow = fast;
  slow.product_flops_per_s["bf16"] = 2e12;
  slow.operation_s = 9e-6;
  const DeviceRates found = median_rates({fast, slow, fast});
  BOOST_TEST(found.product_flops_per_s.at("bf16") == 8e12);
  BOOST_TEST(found.operation_s == 3e-6);
}

BOOST_AUTO_TEST_CASE(what_was_measured_is_a_cluster_that_can_be_read) {
  const TempFolder folder;
  const Cluster made = some_probe().cluster();
  std::ofstream(folder / "cluster.yaml") << cluster_yaml(made);
  const Cluster read = read_cluster(folder / "cluster.yaml");
  BOOST_TEST(read.devices() == 4);
  BOOST_TEST(read.flops_per_s.at("bf16") == 8e12);
  BOOST_TEST(read.efficiency.attention == 0.5);
  BOOST_TEST(read.efficiency.convolution == 0.25);
  BOOST_TEST(read.efficiency.basis.starts_with("calibrated by a probe"));
  BOOST_TEST(read.memory_bytes_per_s == 5e11);
  BOOST_TEST(read.device_link.bytes_per_s == 2e9, tt::tolerance(1e-4));  // the middle of three
  BOOST_TEST(read.device_link.latency_s == 25e-6, tt::tolerance(1e-4));
  BOOST_TEST(read.message_s == 5e-6, tt::tolerance(1e-4));
  Probe alone = some_probe();
  alone.links.clear();
  expect_error({"--nproc 2"}, [&] { alone.cluster(); });
}

BOOST_AUTO_TEST_CASE(links_of_two_machines_are_a_network) {
  Probe probe = some_probe();
  probe.nodes = probe.devices_per_node = 2;
  probe.links[1].one_machine = false;
  const Cluster made = probe.cluster();
  BOOST_TEST(made.node_link.bytes_per_s == 2e9, tt::tolerance(1e-6));
  BOOST_TEST(made.device_link.bytes_per_s == 2e9, tt::tolerance(1e-6));  // of 1 and 3
  BOOST_TEST(probe.text().find("ranks 1 and 2, on two machines") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
