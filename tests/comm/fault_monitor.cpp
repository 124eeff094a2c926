// SPDX-License-Identifier: Apache-2.0
// Which failure is reported when one rank fails and others notice.
#include "comm/fault_monitor.h"

#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

using namespace std::chrono_literals;

// A rank as the others see it: its heartbeats, until it is reset.
struct Rank {
  Rank(const c10::intrusive_ptr<c10d::Store>& store, int64_t rank, int64_t world_size,
       std::chrono::milliseconds silence = std::chrono::minutes(1))
      : recorder(at::kCPU),
        monitor(std::make_unique<FaultMonitor>(
            store, rank, world_size, recorder,
            [this](const std::string& failure) {
              const std::lock_guard lock(mutex);
              ended_with = failure;
            },
            silence)) {
    recorder.set_phase("computing block " + std::to_string(rank));
    while (!read_heartbeat(*store, rank)) std::this_thread::sleep_for(10ms);
    while (read_heartbeat(*store, rank)->activity != recorder.activity()) std::this_thread::sleep_for(10ms);
  }
  std::string end() {
    for (int i = 0; i < 6000; ++i) {
      std::this_thread::sleep_for(10ms);
      const std::lock_guard lock(mutex);
      if (!ended_with.empty()) return ended_with;
    }
    return "it did not end";
  }
  Recorder recorder;
  std::mutex mutex;
  std::string ended_with;
  std::unique_ptr<FaultMonitor> monitor;
};

struct ThreeRanks {
  c10::intrusive_ptr<c10d::Store> store = c10::make_intrusive<c10d::HashStore>();
  Rank zero{store, 0, 3}, one{store, 1, 3}, two{store, 2, 3};
};

const PeerError kNoticed(2, "receiving from rank 2 failed: Connection closed by peer\nwith a stack below");

void check_words(const std::string& text, const std::vector<std::string>& words) {
  for (const auto& word : words) BOOST_TEST(text.find(word) != std::string::npos, "'" << word << "' not in: " << text);
}

BOOST_FIXTURE_TEST_SUITE(fault_monitor, ThreeRanks)

BOOST_AUTO_TEST_CASE(every_rank_ends_with_the_first_failure) {
  const std::string first = one.monitor->explain(Error("no memory\nat some line"));
  BOOST_TEST(first == "rank 1, computing block 1: no memory");
  BOOST_TEST(two.monitor->explain(Error("another")) == first);
  BOOST_TEST(zero.end() == first);
}

BOOST_AUTO_TEST_CASE(a_symptom_waits_for_its_cause) {
  std::thread cause([&] {
    std::this_thread::sleep_for(500ms);
    two.monitor->explain(Error("no memory"));
  });
  check_words(zero.monitor->explain(kNoticed), {"rank 2, computing block 2: no memory"});
  cause.join();
}

BOOST_AUTO_TEST_CASE(a_silent_rank_is_the_cause_even_if_others_were_waited_for) {
  one.monitor.reset();  // rank 0 waits for 2, which waits for 1, which says nothing any more
  two.recorder.set_phase("waiting");
  const std::string cause = zero.monitor->explain(kNoticed);
  check_words(cause, {lost_rank(1), "computing block 1"});
  BOOST_TEST(two.end() == cause);
}

// Nobody waits for them: rank 1 has said farewell, rank 2 has not.
BOOST_AUTO_TEST_CASE(a_rank_that_is_silent_for_long_ends_the_run) {
  const auto other = c10::make_intrusive<c10d::PrefixStore>("of impatient ranks", store);
  Rank first(other, 0, 3, 1s), second(other, 1, 3, 1s), third(other, 2, 3, 1s);
  second.monitor->say_farewell(false);
  second.monitor.reset();
  std::this_thread::sleep_for(4s);
  BOOST_TEST(first.ended_with == "");
  third.monitor.reset();
  check_words(first.end(), {lost_rank(2), "computing block 2"});
}

BOOST_AUTO_TEST_CASE(the_first_rank_is_looked_at_by_the_second) {
  const auto other = c10::make_intrusive<c10d::PrefixStore>("of impatient ranks", store);
  Rank first(other, 0, 2, 1s), second(other, 1, 2, 1s);
  first.monitor.reset();
  check_words(second.end(), {lost_rank(0), "computing block 0"});
}

BOOST_AUTO_TEST_CASE(if_all_live_it_is_the_one_that_does_not_wait) {
  const auto span = two.recorder.receive({.block = 7, .step = 1}, 1, Channel::kForward, 0);
  std::this_thread::sleep_for(500ms);
  check_words(zero.monitor->explain(kNoticed),
              {"rank 1 lives", "--timeout", "computing block 1", "rank 0, computing block 0", "Connection closed"});
}

BOOST_AUTO_TEST_CASE(with_the_store_gone_a_symptom_is_not_the_cause) {
  struct FrailStore final : c10d::PrefixStore {
    using PrefixStore::PrefixStore;
    bool check(const std::vector<std::string>& keys) override { return alive().PrefixStore::check(keys); }
    std::vector<uint8_t> compareSet(const std::string& key, const std::vector<uint8_t>& expected,
                                    const std::vector<uint8_t>& desired) override {
      return alive().PrefixStore::compareSet(key, expected, desired);
    }
    FrailStore& alive() {
      if (lost) throw std::runtime_error("Connection reset by peer");
      return *this;
    }
    std::atomic<bool> lost{false};
  };
  const auto frail = c10::make_intrusive<FrailStore>("frail", store);
  Rank lonely(frail, 1, 3);
  frail->lost = true;
  check_words(lonely.monitor->explain(kNoticed),
              {"rank 1 lost the rendezvous store", "rank 0, has ended", "Connection closed"});
  BOOST_TEST(lonely.monitor->explain(Error("no memory")) == "rank 1, computing block 1: no memory");
}

BOOST_AUTO_TEST_CASE(who_holds_the_store_waits_for_those_who_live) {
  one.monitor.reset();
  const auto begin = std::chrono::steady_clock::now();
  std::thread late([&] {
    std::this_thread::sleep_for(4s);  // longer than it takes to find that rank 1 is gone
    two.monitor->say_farewell(false);
  });
  zero.monitor->say_farewell(true);
  BOOST_TEST((std::chrono::steady_clock::now() - begin >= 4s));
  late.join();
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
