// SPDX-License-Identifier: Apache-2.0
// Some of several ranks as a communicator of their own, over real Gloo connections.
#include "comm/part_communicator.h"

#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "comm/gloo_communicator.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

constexpr auto kShort = std::chrono::milliseconds(1500);

using Work = std::function<void(int64_t rank, Communicator& part)>;

// Ranks 0..3 as those with even numbers, largest first, and those with odd ones.
void as_parts(const Work& work, std::chrono::milliseconds timeout = std::chrono::seconds(60)) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < 4; ++rank)
    threads.emplace_back([&, rank] {
      const auto all = gloo_communicator(store, {rank, 4, timeout, /*loopback=*/true});
      const std::vector<int64_t> ranks = rank % 2 == 0 ? std::vector<int64_t>{2, 0} : std::vector<int64_t>{1, 3};
      const auto own = c10::make_intrusive<c10d::PrefixStore>(rank % 2 == 0 ? "even" : "odd", store);
      const auto part = part_communicator(*all, ranks, own, timeout);
      work(rank, *part);
      if (timeout > kShort) all->barrier();  // nobody leaves while others still receive
    });
  for (auto& thread : threads) thread.join();
}

BOOST_AUTO_TEST_SUITE(part_of_ranks)

BOOST_AUTO_TEST_CASE(ranks_are_numbered_anew_and_talk_among_themselves) {
  std::vector<int64_t> numbers(4);
  std::vector<double> received(4), broadcast(4);
  std::vector<std::vector<std::string>> texts(4);
  as_parts([&](int64_t rank, Communicator& part) {
    numbers[rank] = 10 * part.world_size() + part.rank();
    const int64_t other = 1 - part.rank();
    part.connect({{0, 1, Channel::kForward}, {1, 0, Channel::kForward}});
    const at::Tensor own = at::full({3}, static_cast<double>(rank)), theirs = at::zeros({3});
    const auto incoming = part.receive(theirs, other, Channel::kForward);
    const auto outgoing = part.send(own, other, Channel::kForward);
    incoming->wait();
    outgoing->wait();
    received[rank] = theirs.sum().item<double>() / 3;
    at::Tensor first = at::full({2}, 10.0 + static_cast<double>(rank));
    part.broadcast(first);
    broadcast[rank] = first[0].item<double>();
    // As many rounds as a part has ranks' numbers: parts do not wait for each other.
    for (int64_t round = 0; round <= rank % 2; ++round) texts[rank] = part.gather(fmt::format("{} of {}", round, rank));
  });
  BOOST_TEST(numbers == (std::vector<int64_t>{21, 20, 20, 21}), boost::test_tools::per_element());
  BOOST_TEST(received == (std::vector<double>{2, 3, 0, 1}), boost::test_tools::per_element());
  BOOST_TEST(broadcast == (std::vector<double>{12, 11, 12, 11}), boost::test_tools::per_element());
  BOOST_TEST(texts[0] == (std::vector<std::string>{"0 of 2", "0 of 0"}), boost::test_tools::per_element());
  BOOST_TEST(texts[3] == (std::vector<std::string>{"1 of 1", "1 of 3"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(errors_name_the_rank_among_all) {
  std::string said;
  as_parts(
      [&](int64_t rank, Communicator& part) {
        if (rank != 1) return;  // rank 3 does not come
        try {
          part.barrier();
        } catch (const PeerError& error) {
          said = fmt::format("{}: {}", error.peer(), error.what());
        }
      },
      kShort);
  BOOST_TEST(said.starts_with("3: waiting for rank 3 failed"), said);
}

BOOST_AUTO_TEST_CASE(a_rank_that_is_not_among_them_is_refused) {
  const auto lone = lone_communicator();
  expect_error({"rank 0", "1, 2"}, [&] { part_communicator(*lone, {1, 2}, nullptr, std::chrono::seconds(1)); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
