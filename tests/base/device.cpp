// SPDX-License-Identifier: Apache-2.0
#include "base/device.h"

#include "base/cuda.h"
#include "tests/testing.h"

namespace dualparal::testing {
BOOST_AUTO_TEST_SUITE(runtime_device)

BOOST_AUTO_TEST_CASE(the_cpu_is_always_there) {
  BOOST_TEST((parse_device("cpu") == at::Device(at::kCPU)));
  BOOST_TEST(!device_description(at::kCPU).empty());
  BOOST_CHECK_NO_THROW(synchronize(at::kCPU));
}

BOOST_DATA_TEST_CASE(unknown_devices_are_refused,
                     data::make({"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1234", "CPU", "cpu:0"}), name) {
  expect_error<UsageError>({"--device", std::string("'") + name + "'"}, [&] { parse_device(name); });
}

BOOST_AUTO_TEST_CASE(dtypes_have_one_name_each) {
  for (const std::string name : {"fp32", "bf16", "fp16"}) BOOST_TEST(dtype_name(parse_dtype(name)) == name);
  BOOST_TEST((parse_dtype("bf16") == at::kBFloat16));
  for (const std::string name : {"", "float", "fp8", "FP32"})
    expect_error<UsageError>({"--dtype", "'" + name + "'"}, [&] { parse_dtype(name); });
}

BOOST_AUTO_TEST_CASE(fp32_means_fp32) {
  at::globalContext().setAllowTF32CuDNN(true);
  at::globalContext().setAllowTF32CuBLAS(true);
  at::globalContext().setBenchmarkCuDNN(true);
  set_arithmetic();
  BOOST_TEST(!at::globalContext().allowTF32CuDNN());
  BOOST_TEST(!at::globalContext().allowTF32CuBLAS());
  BOOST_TEST(!at::globalContext().benchmarkCuDNN());
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
