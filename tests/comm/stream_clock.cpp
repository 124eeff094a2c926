// SPDX-License-Identifier: Apache-2.0
// Times and faults of a device that comes to its work later than the host, on one that is not there.
#include "comm/stream_clock.h"

#include <cmath>

#include "base/device.h"
#include "comm/recorder.h"
#include "comm/with_peer.h"
#include "tests/comm/fake_device.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;
const WorkLabel kFirst{.block = 3, .step = 5, .first_layer = 4, .last_layer = 7};
const WorkLabel kSecond{.block = 4, .step = 5, .first_layer = 4, .last_layer = 7};

double milliseconds(const Event& event) { return 1e3 * (event.end_s - event.begin_s); }

BOOST_AUTO_TEST_SUITE(stream_clock)

BOOST_AUTO_TEST_CASE(marks_of_a_cpu_are_the_moment) {
  StreamClock clock(at::kCPU);
  const double before = event_clock();
  BOOST_TEST(clock.mark() == 0);
  BOOST_TEST(clock.mark() == 1);
  BOOST_TEST(clock.passed() == 2);
  const auto seconds = clock.read();
  BOOST_TEST((before <= seconds.at(0) && seconds.at(0) <= seconds.at(1) && seconds.at(1) <= event_clock()));
}

BOOST_AUTO_TEST_CASE(spans_last_as_long_as_the_device_takes_and_nobody_waits) {
  FakeDevice& device = FakeDevice::fresh();
  Recorder recorder(FakeDevice::device());
  recorder.clear();
  const int before = device.waits();
  {
    const auto outer = recorder.compute(kFirst);
    device.give(10);
    {
      const auto message = recorder.receive(kFirst, 1, Channel::kForward, 8);
      device.give(4);  // the stream waits for the message
    }
    device.give(6);
  }
  BOOST_TEST(device.waits() == before);
  const auto events = recorder.events();
  BOOST_TEST_REQUIRE(events.size() == 3U);
  BOOST_TEST(milliseconds(events[0]) == 10, tt::tolerance(1e-6));
  BOOST_TEST(milliseconds(events[1]) == 4, tt::tolerance(1e-6));
  BOOST_TEST(milliseconds(events[2]) == 6, tt::tolerance(1e-6));
  BOOST_TEST(events[1].begin_s == events[0].end_s, tt::tolerance(1e-9));
  BOOST_TEST(std::abs(events[2].end_s - events[0].begin_s - 0.020) < 1e-6);
}

BOOST_AUTO_TEST_CASE(a_clock_that_drifts_is_brought_to_the_host_s) {
  FakeDevice& device = FakeDevice::fresh();
  StreamClock clock(FakeDevice::device());
  clock.restart();
  const double begin = event_clock();
  clock.mark();
  device.give(1e7);  // hours in no time: this device's clock runs much too fast
  clock.mark();
  const auto seconds = clock.read();
  BOOST_TEST(seconds[1] - seconds[0] <= event_clock() - begin + 1e-3);
  BOOST_TEST(std::abs(seconds[0] - begin) < 0.1);
}

BOOST_AUTO_TEST_CASE(what_the_device_has_passed_is_known_without_waiting) {
  FakeDevice& device = FakeDevice::fresh();
  StreamClock clock(FakeDevice::device());
  clock.mark();
  device.give(10);
  clock.mark();
  BOOST_TEST(clock.passed() == 1);
  device.run(5);
  BOOST_TEST(clock.passed() == 1);
  device.run(5);
  BOOST_TEST(clock.passed() == 2);
}

// Without being waited for, and with the times that a list of them has.
BOOST_AUTO_TEST_CASE(events_are_handed_over_when_the_device_has_got_past_them) {
  constexpr int kJobs = 3000;
  FakeDevice& device = FakeDevice::fresh();
  Recorder recorder(FakeDevice::device());
  recorder.clear();
  const double begin = event_clock();
  std::vector<Event> taken;
  recorder.hand_to([&](const Event& event) { taken.push_back(event); });
  const int before = device.waits();
  for (int job = 0; job < kJobs; ++job) {
    const auto span = recorder.compute({.block = job});
    device.give(2);
    if (job == kJobs - 100) {
      BOOST_TEST(taken.empty());  // it has done nothing yet
      device.run(2 * 1500);
    }
  }
  BOOST_TEST(taken.size() == 1500u);
  BOOST_TEST(device.waits() == before);
  BOOST_TEST(recorder.activity_of_device().find("at: computing block 1500") != std::string::npos);
  const ClockLine line = recorder.end_handing();
  BOOST_TEST_REQUIRE(taken.size() == static_cast<size_t>(kJobs));
  // 6 s of work in no time: this device's clock runs much too fast.
  BOOST_TEST(line.rate < 1);
  for (int job = 0; job < kJobs; ++job) {
    BOOST_TEST_REQUIRE(taken[job].label.block == job);
    BOOST_TEST_REQUIRE(taken[job].begin_s == 2e-3 * job, tt::tolerance(1e-9));
    BOOST_TEST_REQUIRE(taken[job].end_s == 2e-3 * (job + 1), tt::tolerance(1e-9));
  }
  BOOST_TEST(std::abs(line.at(0) - begin) < 0.1);
  BOOST_TEST(line.at(taken.back().end_s) <= event_clock() + 1e-3);
}

// A destructor that threw would end the process without a word.
BOOST_AUTO_TEST_CASE(a_fault_when_a_span_ends_is_thrown_later_and_says_where) {
  FakeDevice& device = FakeDevice::fresh();
  Recorder recorder(FakeDevice::device());
  recorder.clear();
  {
    const auto span = recorder.compute(kFirst);
    device.give(1);
    device.fault();
  }
  BOOST_TEST(recorder.activity() == "computing block 3, step 5, layers 4..7");
  expect_error<c10::AcceleratorError>({"illegal access"}, [&] { recorder.compute(kSecond); });
  BOOST_TEST(recorder.activity() == "computing block 3, step 5, layers 4..7");
  expect_error<c10::AcceleratorError>({"illegal access"}, [&] { recorder.events(); });
}

BOOST_AUTO_TEST_CASE(a_fault_that_shows_late_names_where_the_device_was) {
  FakeDevice& device = FakeDevice::fresh();
  Recorder recorder(FakeDevice::device());
  recorder.clear();
  {
    const auto span = recorder.compute(kFirst);
    device.give(10);
  }
  BOOST_TEST(recorder.activity_of_device() == recorder.activity());
  std::string told;
  try {
    const auto span = recorder.compute(kSecond);
    told = recorder.activity_of_device();
    device.fault();
    with_peer(1, "receiving from", [] { synchronize(FakeDevice::device()); });
  } catch (const PeerError&) {
    BOOST_ERROR("another rank was blamed for a fault of this one's device");
  } catch (const c10::AcceleratorError&) {
  }
  for (const char* words : {"computing block 4", "the device last known to be at: computing block 3, step 5, layers"})
    BOOST_TEST(told.find(words) != std::string::npos, told);
  BOOST_TEST(recorder.activity_of_device() == told);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
