// SPDX-License-Identifier: Apache-2.0
#include "comm/emulated_communicator.h"

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

BOOST_AUTO_TEST_SUITE(emulated_communicator_suite)

BOOST_AUTO_TEST_CASE(what_is_received_has_the_spread_of_real_data) {
  const auto comm = emulated_communicator(1, 3);
  for (const int64_t count : {5, 70'000, 200'001}) {
    const at::Tensor target = at::full({count}, NAN);
    comm->receive(target, 0, Channel::kForward)->wait();
    BOOST_TEST(!target.isnan().any().item<bool>());
    if (count > 1000) BOOST_TEST(std::abs(target.std().item<double>() - 1) < 0.05);
  }
  const at::Tensor narrow = at::empty({2, 3}, at::kBFloat16);
  comm->receive(narrow, 2, Channel::kReturn)->wait();
  BOOST_TEST(narrow.to(at::kFloat).abs().sum().item<double>() > 0);
}

BOOST_AUTO_TEST_CASE(a_message_keeps_its_tensor_until_it_is_waited_for) {
  const auto comm = emulated_communicator(0, 2);
  at::Tensor tensor = at::ones({4});
  const auto transfer = comm->send(tensor, 1, Channel::kForward);
  BOOST_TEST(tensor.use_count() == 2u);
  transfer->wait();
  BOOST_TEST(tensor.use_count() == 1u);
}

BOOST_AUTO_TEST_CASE(shapes_alone_need_no_filling) {
  const at::Tensor target = at::empty({4}, at::kMeta);
  emulated_communicator(0, 2)->receive(target, 1, Channel::kForward)->wait();
}

BOOST_AUTO_TEST_CASE(ranks_that_are_not_there_are_refused) {
  const auto comm = emulated_communicator(1, 2);
  for (const int64_t peer : {-1, 1, 2})
    expect_error({"rank 1 of 2", std::to_string(peer)}, [&] { comm->send(at::ones({1}), peer, Channel::kForward); });
  expect_error({"rank 2 of 2"}, [] { emulated_communicator(2, 2); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
