// SPDX-License-Identifier: Apache-2.0
#include "base/measure/work_meter.h"

#include <ATen/record_function.h>

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

// What `action` is worth.
template <class Action>
Work work_of(Action&& action) {
  const WorkMeter meter;
  action();
  return WorkMeter::now();
}

BOOST_AUTO_TEST_SUITE(work_meter)

BOOST_AUTO_TEST_CASE(a_product_is_counted_once_however_it_is_called) {
  const at::Tensor x = randn({2, 5, 8}, 1), weight = randn({3, 8}, 2), bias = randn({3}, 3);
  for (const bool with_bias : {false, true}) {
    const Work work = work_of([&] { at::linear(x, weight, with_bias ? bias : at::Tensor()); });
    BOOST_TEST(work.matmul_flops == 2.0 * 2 * 5 * 8 * 3);
    BOOST_TEST(work.operations == 1);
  }
  BOOST_TEST(work_of([&] { at::matmul(x, weight.t()); }).matmul_flops == 2.0 * 2 * 5 * 8 * 3);
  BOOST_TEST(work_of([&] { at::bmm(x, x.transpose(1, 2)); }).matmul_flops == 2.0 * 2 * 5 * 8 * 5);
  BOOST_TEST(work_of([&] { at::addmm(bias, x[0], weight.t()); }).matmul_flops == 2.0 * 5 * 8 * 3);
}

BOOST_AUTO_TEST_CASE(attention_is_scores_and_weighted_values) {
  const at::Tensor query = randn({1, 3, 7, 16}, 1), key = randn({1, 3, 11, 16}, 2);
  const Work work = work_of([&] { at::scaled_dot_product_attention(query, key, key); });
  BOOST_TEST(work.attention_flops == 4.0 * 3 * 7 * 11 * 16);
  BOOST_TEST(work.matmul_flops == 0);
}

BOOST_AUTO_TEST_CASE(a_convolution_is_a_filter_at_every_output) {
  const at::Tensor image = randn({1, 4, 9, 10}, 1), filters = randn({6, 4, 3, 3}, 2);
  BOOST_TEST(work_of([&] { at::conv2d(image, filters); }).convolution_flops == 2.0 * 6 * 7 * 8 * 4 * 9);
}

BOOST_AUTO_TEST_CASE(other_operations_are_bytes_and_views_are_nothing) {
  const at::Tensor x = randn({4, 6}, 1);
  const Work views = work_of([&] { x.transpose(0, 1).slice(0, 1, 3).unsqueeze(0).expand({5, 2, 4}); });
  BOOST_TEST(views.moved_bytes == 0);
  BOOST_TEST(views.operations == 0);
  BOOST_TEST(work_of([&] { at::exp(x); }).moved_bytes == 2.0 * 24 * 4);
  BOOST_TEST(work_of([&] { x.clone(); }).moved_bytes == 2.0 * 24 * 4);
  BOOST_TEST(work_of([&] { x.to(at::kBFloat16); }).moved_bytes == 24.0 * (4 + 2));
  BOOST_TEST(work_of([&] { x + randn({1, 1}, 2).expand({4, 6}); }).moved_bytes >= 2.0 * 24 * 4);
}

BOOST_AUTO_TEST_CASE(messages_are_no_work) {
  const at::Tensor message = randn({4, 6}, 1);
  const auto note = [&](const char* name) {
    return work_of([&] { RECORD_FUNCTION(name, std::vector<c10::IValue>{message}); });
  };
  BOOST_TEST(note("record_param_comms").operations == 0);  // as c10d notes it
  BOOST_TEST(note("record_param_comms").moved_bytes == 0);
  BOOST_TEST(note("anything else").moved_bytes == 24.0 * 4);
}

BOOST_AUTO_TEST_CASE(kernels_of_ours_say_what_they_move) {
  const Work work = work_of([] { WorkMeter::note_kernel(123); });
  BOOST_TEST(work.moved_bytes == 123);
  BOOST_TEST(work.operations == 1);
}

BOOST_AUTO_TEST_CASE(shapes_alone_are_as_much_work) {
  const auto product = [](at::DeviceType device) {
    const at::Tensor x = at::ones({2, 5, 8}, at::device(device)), weight = at::ones({3, 8}, at::device(device));
    return work_of([&] { at::gelu(at::linear(x, weight)).exp_(); });
  };
  const Work real = product(at::kCPU), shapes = product(at::kMeta);
  BOOST_TEST(real.matmul_flops == shapes.matmul_flops);
  BOOST_TEST(real.moved_bytes == shapes.moved_bytes);
  BOOST_TEST(real.operations == shapes.operations);
}

BOOST_AUTO_TEST_CASE(nothing_is_counted_without_a_meter) {
  { const WorkMeter meter; }
  at::ones({3}).add(1);
  BOOST_TEST(WorkMeter::now().operations == 0);
  expect_error({"meter already"}, [] {
    const WorkMeter one;
    const WorkMeter two;
  });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
