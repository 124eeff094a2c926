// SPDX-License-Identifier: Apache-2.0
// What a rank is said to be doing, from which others explain faults.
#include "comm/recorder.h"

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

const WorkLabel kJob{.block = 3, .step = 5, .first_layer = 4, .last_layer = 7};

BOOST_AUTO_TEST_SUITE(recorder)

BOOST_AUTO_TEST_CASE(between_two_pieces_of_work_the_last_one_is_told) {
  Recorder recorder(at::kCPU);
  recorder.set_phase("waiting for all ranks to be ready");
  BOOST_TEST(recorder.activity() == "waiting for all ranks to be ready");
  {
    const auto span = recorder.compute(kJob);
    BOOST_TEST(recorder.activity() == "computing block 3, step 5, layers 4..7");
    {
      const auto inner = recorder.receive(kJob, 2, Channel::kForward, 8);
      BOOST_TEST(recorder.activity() == "waiting for rank 2: block 3, step 5, layers 4..7");
      BOOST_TEST(recorder.waiting_for() == 2);
    }
    BOOST_TEST(recorder.activity() == "computing block 3, step 5, layers 4..7");
  }
  BOOST_TEST(recorder.activity() == "done with computing block 3, step 5, layers 4..7");
  BOOST_TEST(recorder.waiting_for() == -1);
  recorder.set_phase("decoding");
  BOOST_TEST(recorder.activity() == "decoding");
}

BOOST_AUTO_TEST_CASE(after_an_exception_what_failed_is_told) {
  Recorder recorder(at::kCPU);
  try {
    const auto span = recorder.compute(kJob);
    throw std::runtime_error("no memory");
  } catch (const std::runtime_error&) {
    BOOST_TEST(recorder.activity() == "computing block 3, step 5, layers 4..7");
  }
}

BOOST_AUTO_TEST_CASE(a_label_names_frames_and_steps_where_there_are_no_blocks) {
  WorkLabel label{.block = 2, .step = 30, .last_layer = 7};
  BOOST_TEST(label.text() == "block 2, step 30, layers 0..7");
  label.frames = {3, 10};
  BOOST_TEST(label.text() == "frames 3..10, step 30, layers 0..7");
  label.steps = {24, 31};
  label.last_layer = -1;
  BOOST_TEST(label.text() == "frames 3..10, steps 24..31");
  label.frames = {4, 4};
  label.steps = {9, 9};
  BOOST_TEST(label.text() == "frames 4, step 9");
}

BOOST_AUTO_TEST_CASE(work_that_begins_or_ends_within_a_layer_says_so) {
  WorkLabel label{.block = 2, .step = 30, .first_layer = 3, .last_layer = 7};
  label.first_part = kCrossAttention;
  BOOST_TEST(label.text() == "block 2, step 30, layers 3..7 (from cross-attention of 3 to feed-forward of 7)");
  label.last_part = kSelfAttention;
  BOOST_TEST(label.text() == "block 2, step 30, layers 3..7 (from cross-attention of 3 to self-attention of 7)");
}

// A long run does not keep its events: at most some of the newest.
BOOST_AUTO_TEST_CASE(events_are_handed_over_in_order_while_they_come) {
  constexpr int64_t kJobs = 5000, kNewest = 1100;  // events
  Recorder recorder(at::kCPU);
  std::vector<Event> taken;
  recorder.hand_to([&](const Event& event) { taken.push_back(event); });
  const double before = event_clock();
  for (int64_t job = 0; job < kJobs; ++job) {
    const auto outer = recorder.compute({.block = job});
    recorder.output(job);
    const auto inner = recorder.receive({.block = job}, 1, Channel::kForward, 8);
    BOOST_TEST_REQUIRE(4 * job - static_cast<int64_t>(taken.size()) <= kNewest);
  }
  expect_error({"handed over"}, [&] { recorder.events(); });
  const ClockLine line = recorder.end_handing();
  BOOST_TEST((line.offset_s == 0 && line.rate == 1));
  BOOST_TEST_REQUIRE(taken.size() == static_cast<size_t>(4 * kJobs));
  double last = before;
  for (size_t i = 0; i < taken.size(); ++i) {
    const Event& event = taken[i];
    constexpr Event::Kind kKinds[] = {Event::Kind::kOutput, Event::Kind::kCompute, Event::Kind::kReceive,
                                      Event::Kind::kCompute};
    BOOST_TEST_REQUIRE((event.kind == kKinds[i % 4]));
    if (event.kind == Event::Kind::kOutput) continue;
    BOOST_TEST_REQUIRE(event.label.block == static_cast<int64_t>(i / 4));
    BOOST_TEST_REQUIRE((last <= event.begin_s && event.begin_s <= event.end_s));
    last = event.end_s;
  }
  BOOST_TEST(last <= event_clock());
  recorder.clear();
  { const auto span = recorder.compute(kJob); }
  BOOST_TEST(recorder.events().size() == 1u);  // kept again
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
