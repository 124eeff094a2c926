// SPDX-License-Identifier: Apache-2.0
#include "harness/simulator/simulate.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

BOOST_AUTO_TEST_SUITE(simulated_memory)

// Sixteen ranks on eight devices, two of them told by one trace: devices 0, 2, 4 and 6 have two traces each.
BOOST_AUTO_TEST_CASE(ranks_that_share_a_device_share_its_memory) {
  Cluster cluster;
  cluster.devices_per_node = 8;
  cluster.device_memory_bytes = int64_t{3} << 30;
  std::vector<RankTrace> traces(8, {.peak_memory_bytes = int64_t{1} << 30, .ranks = 2});
  BOOST_TEST(memory_failure(traces, cluster) == "");
  traces[6].peak_memory_bytes = int64_t{5} << 29;  // of rank 12, beside rank 4
  BOOST_TEST(memory_failure(traces, cluster).find("ranks 4, 12 on one device need 3.5 GiB") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace dualparal::testing
