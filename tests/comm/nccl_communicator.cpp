// SPDX-License-Identifier: Apache-2.0
// What of NCCL needs no GPU: which links there are, and what is refused. The program's own errors: tests/program.
#include "comm/nccl_communicator.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

#include "comm/nccl_links.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

BOOST_AUTO_TEST_SUITE(nccl)

BOOST_AUTO_TEST_CASE(a_backend_must_exist_and_suit_the_device) {
  BOOST_CHECK_NO_THROW(check_backend("gloo", "cpu"));
  BOOST_CHECK_NO_THROW(check_backend("gloo", "cuda"));
  BOOST_CHECK_NO_THROW(check_backend("nccl", "cuda:1"));
  expect_error<UsageError>({"--backend nccl", "--device cuda", "cpu", "--backend gloo"},
                           [] { check_backend("nccl", "cpu"); });
  for (const char* name : {"", "mpi", "NCCL"})
    expect_error<UsageError>({"--backend", "gloo or nccl", name}, [&] { check_backend(name, "cuda"); });
}

BOOST_AUTO_TEST_CASE(ranks_that_share_a_gpu_are_named) {
  BOOST_CHECK_NO_THROW(check_own_gpus({"GPU 0 of a", "GPU 1 of a", "GPU 0 of b"}));
  expect_error<Error>({"ranks 1 and 3 share GPU 1 of a", "NCCL", "--backend gloo"}, [] {
    check_own_gpus({"GPU 0 of a", "GPU 1 of a", "GPU 0 of b", "GPU 1 of a"});
  });
}

BOOST_AUTO_TEST_CASE(a_cpu_is_refused) {
  expect_error<Error>({"--backend nccl", "CUDA device", "cpu"}, [] {
    nccl_communicator({}, {0, 2, std::chrono::seconds(1)}, nullptr, at::kCPU);
  });
}

BOOST_AUTO_TEST_CASE(receives_that_wait_must_leave_room_to_compute) {
  const auto restore =
      std::unique_ptr<const char, void (*)(const char*)>("", [](const char*) { unsetenv("NCCL_MAX_CTAS"); });
  unsetenv("NCCL_MAX_CTAS");
  BOOST_CHECK_NO_THROW(check_links_fit(all_links(8), 0, 132));
  BOOST_CHECK_NO_THROW(check_links_fit(pipeline_links(8), 0, 5));  // one incoming link: 4 of 5
  expect_error<Error>({"rank 0", "7 links", "4 thread blocks", "28 multiprocessors", "NCCL_MAX_CTAS", "--backend gloo"},
                      [] { check_links_fit(all_links(8), 0, 28); });
  setenv("NCCL_MAX_CTAS", "1", 1);
  BOOST_CHECK_NO_THROW(check_links_fit(all_links(8), 0, 28));
  expect_error<Error>({"rank 3", "34 links", "32"}, [] { check_links_fit(all_links(18), 3, 1000); });
}

BOOST_AUTO_TEST_CASE(the_environment_is_set_and_a_user_s_values_stay) {
  const std::vector<const char*> names{"TORCH_NCCL_ASYNC_ERROR_HANDLING", "TORCH_NCCL_RETHROW_CUDA_ERRORS",
                                       "CUDA_MODULE_LOADING", "CUDA_DEVICE_MAX_CONNECTIONS"};
  for (const char* name : names) unsetenv(name);
  setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "3", 1);
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "16", 1);
  set_nccl_environment();
  const auto value = [](const char* name) { return std::string(std::getenv(name) ? std::getenv(name) : "none"); };
  BOOST_TEST(value("TORCH_NCCL_ASYNC_ERROR_HANDLING") == "0");  // whoever ends the process is ours
  BOOST_TEST(value("TORCH_NCCL_RETHROW_CUDA_ERRORS") == "0");
  BOOST_TEST(value("CUDA_MODULE_LOADING") == "EAGER");
  BOOST_TEST(value("CUDA_DEVICE_MAX_CONNECTIONS") == "16");
  for (const char* name : names) unsetenv(name);
}

BOOST_DATA_TEST_CASE(links_name_every_path_once, data::make({1, 2, 3, 8}), ranks) {
  for (const auto& links : {pipeline_links(ranks), neighbour_links(ranks), all_links(ranks)}) {
    std::map<Link, int> count;
    for (const Link& link : links) {
      BOOST_TEST(++count[link] == 1);
      BOOST_TEST(link.from != link.to);
      BOOST_TEST((std::min(link.from, link.to) >= 0 && std::max(link.from, link.to) < ranks));
    }
  }
  const auto n = static_cast<size_t>(ranks);
  BOOST_TEST(pipeline_links(ranks).size() == (n > 1 ? n : 0));
  BOOST_TEST(neighbour_links(ranks).size() == 2 * (n - 1));
  BOOST_TEST(all_links(ranks).size() == n * (n - 1));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
