// SPDX-License-Identifier: Apache-2.0
#include "harness/run/clock_alignment.h"

#include "tests/ranks.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

// What each of three ranks finds, with clocks that are `apart` seconds from the one before.
std::vector<ClockOffset> offsets(double apart, bool one_host) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::vector<ClockOffset> found(3);
  std::vector<std::thread> ranks;
  for (int64_t rank = 0; rank < 3; ++rank)
    ranks.emplace_back([&, rank] {
      const auto comm = gloo_communicator(store, {rank, 3, std::chrono::seconds(60), /*loopback=*/true});
      found[rank] = align_clock(*comm, one_host ? "host" : fmt::format("host {}", rank),
                                [&] { return event_clock() + apart * static_cast<double>(rank); });
    });
  for (auto& rank : ranks) rank.join();
  return found;
}

BOOST_AUTO_TEST_SUITE(clock_alignment)

BOOST_AUTO_TEST_CASE(clocks_of_several_hosts_are_brought_together) {
  const auto found = offsets(1000, false);
  for (int rank = 0; rank < 3; ++rank) {
    BOOST_TEST(std::abs(found[rank].offset_s + 1000 * rank) <= found[rank].error_s + 1);
    BOOST_TEST(found[rank].error_s >= 0);
  }
  BOOST_TEST(found[0].offset_s == 0);
}

BOOST_AUTO_TEST_CASE(one_host_has_one_clock) {
  for (const ClockOffset& one : offsets(1000, true)) {
    BOOST_TEST(one.offset_s == 0);
    BOOST_TEST(one.error_s == 0);
  }
  BOOST_TEST(!clock_host().empty());
}

// The store takes no message of more than 8 MiB.
BOOST_AUTO_TEST_CASE(long_texts_come_to_the_first_rank) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::vector<std::string> found;
  std::vector<std::thread> ranks;
  const auto text_of = [](int64_t rank) { return std::string(static_cast<size_t>(rank * 9) << 20, 'a') + "end"; };
  for (int64_t rank = 0; rank < 3; ++rank)
    ranks.emplace_back([&, rank] {
      const auto comm = gloo_communicator(store, {rank, 3, std::chrono::seconds(60), /*loopback=*/true});
      const auto texts = comm->gather_on_first(text_of(rank));
      if (rank == 0)
        found = texts;
      else
        BOOST_TEST(texts.empty());
    });
  for (auto& rank : ranks) rank.join();
  BOOST_REQUIRE(found.size() == 3u);
  for (int64_t rank = 0; rank < 3; ++rank) BOOST_TEST((found[rank] == text_of(rank)));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
