// SPDX-License-Identifier: Apache-2.0
#include "base/measure/memory.h"

#include <thread>

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

constexpr int64_t kBytes = 8 << 20;
// What an allocator may add to a tensor of kBytes: rounding, and its own book-keeping.
constexpr int64_t kSlack = 64 << 10;

at::Tensor bytes(int64_t count) { return at::empty({count}, at::kByte); }
bool about(int64_t actual, int64_t expected) { return expected <= actual && actual <= expected + kSlack; }

}  // namespace

BOOST_AUTO_TEST_SUITE(runtime_memory)

BOOST_AUTO_TEST_CASE(the_peak_is_that_of_known_tensors) {
  count_cpu_memory();
  const int64_t before = memory_usage(at::kCPU).allocated_bytes;
  reset_peak_memory(at::kCPU);
  {
    const at::Tensor first = bytes(kBytes);
    { const at::Tensor second = bytes(2 * kBytes); }
    const at::Tensor third = bytes(kBytes);
    BOOST_TEST(about(memory_usage(at::kCPU).allocated_bytes - before, 2 * kBytes));
  }
  const MemoryUsage usage = memory_usage(at::kCPU);
  BOOST_TEST(usage.allocated_bytes == before);
  BOOST_TEST(about(usage.peak_allocated_bytes - before, 3 * kBytes));
}

BOOST_DATA_TEST_CASE(host_memory_counts_beside_the_device, boost::unit_test::data::make({at::kCPU, at::kMeta}), type) {
  count_cpu_memory();
  count_meta_memory();
  const at::Device device(type);
  const int64_t before = memory_usage(device).allocated_bytes, host_before = host_memory_usage().allocated_bytes;
  reset_peak_memory(device);
  {
    const at::Tensor kept = empty_in_host_memory({2, kBytes / 4}, at::kBFloat16, device);
    BOOST_TEST(kept.device() == device);
    BOOST_TEST(kept.nbytes() == static_cast<size_t>(kBytes));
    const at::Tensor part = kept.select(0, 1);
    BOOST_TEST(memory_usage(device).allocated_bytes == before);
    BOOST_TEST(host_memory_usage().allocated_bytes == host_before + kBytes);
    const at::Tensor beside = at::empty({kBytes}, at::TensorOptions().dtype(at::kByte).device(device));
    BOOST_TEST(about(memory_usage(device).allocated_bytes - before, kBytes));
  }
  BOOST_TEST(memory_usage(device).allocated_bytes == before);
  BOOST_TEST(host_memory_usage().allocated_bytes == host_before);
  BOOST_TEST(host_memory_usage().peak_allocated_bytes == host_before + kBytes);
  reset_peak_memory(device);
  BOOST_TEST(host_memory_usage().peak_allocated_bytes == host_before);
}

BOOST_AUTO_TEST_CASE(a_reset_starts_at_what_is_allocated_now) {
  count_cpu_memory();
  const at::Tensor held = bytes(kBytes);
  { const at::Tensor passing = bytes(4 * kBytes); }
  reset_peak_memory(at::kCPU);
  const MemoryUsage usage = memory_usage(at::kCPU);
  BOOST_TEST(usage.peak_allocated_bytes == usage.allocated_bytes);
  BOOST_TEST(usage.allocated_bytes >= kBytes);
}

BOOST_AUTO_TEST_CASE(other_threads_count_too) {
  count_cpu_memory();
  const int64_t before = memory_usage(at::kCPU).allocated_bytes;
  at::Tensor made_elsewhere;
  std::thread([&] { made_elsewhere = bytes(kBytes); }).join();
  BOOST_TEST(about(memory_usage(at::kCPU).allocated_bytes - before, kBytes));
  made_elsewhere.reset();
  BOOST_TEST(memory_usage(at::kCPU).allocated_bytes == before);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_throws) {
  count_cpu_memory();
  expect_error<c10::Error>({"allocate memory"}, [] { bytes(int64_t{1} << 60); });
}

BOOST_AUTO_TEST_CASE(the_resident_set_holds_a_touched_tensor) {
  const int64_t before = peak_resident_bytes();
  const at::Tensor touched = at::ones({before + kBytes}, at::kByte);
  BOOST_TEST(peak_resident_bytes() >= before + kBytes);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
