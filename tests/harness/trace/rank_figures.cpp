// SPDX-License-Identifier: Apache-2.0
// Compute, communication and idle time from made-up events of two ranks.
#include "harness/trace/rank_figures.h"

#include "tests/testing.h"

namespace dualparal::testing {
namespace {

using Kind = Event::Kind;
namespace tt = boost::test_tools;

Event compute(double begin, double end, int64_t block = 0) {
  return {.kind = Kind::kCompute,
          .label = {.block = block, .step = 2, .first_layer = 0, .last_layer = 3},
          .begin_s = begin,
          .end_s = end};
}
Event send(double begin, double end, int64_t to) {
  return {.kind = Kind::kSend, .peer = to, .bytes = 100, .begin_s = begin, .end_s = end};
}
Event receive(double begin, double end, int64_t from) {
  return {.kind = Kind::kReceive, .peer = from, .bytes = 100, .begin_s = begin, .end_s = end};
}

// Rank 0 computes for two seconds and sends; rank 1 waits from the start, has the message half a second after it was
// sent, and computes for three.
std::vector<RankTrace> two_ranks() {
  RankTrace first{.begin_s = 10, .end_s = 12.1, .events = {compute(10, 12), send(12, 12.1, 1)}};
  RankTrace second{.begin_s = 10, .end_s = 15.5, .events = {receive(10, 12.5, 0), compute(12.5, 15.5, 1)}};
  return {first, second};
}

BOOST_AUTO_TEST_SUITE(rank_figures_suite)

BOOST_AUTO_TEST_CASE(waiting_before_the_send_is_idle_and_after_it_communication) {
  const auto figures = rank_figures(two_ranks());
  BOOST_TEST(figures[0].compute_s == 2, tt::tolerance(1e-9));
  BOOST_TEST(figures[0].communication_s == 0.1, tt::tolerance(1e-9));
  BOOST_TEST(figures[0].idle_s == 3.4, tt::tolerance(1e-9));  // until the slowest rank is done
  BOOST_TEST(figures[0].sent_bytes == 100);
  BOOST_TEST(figures[1].compute_s == 3, tt::tolerance(1e-9));
  BOOST_TEST(figures[1].communication_s == 0.5, tt::tolerance(1e-9));
  BOOST_TEST(figures[1].idle_s == 2, tt::tolerance(1e-9));
  BOOST_TEST(bubble_ratio(figures) == 0);  // neither waits between its first and last work
}

BOOST_AUTO_TEST_CASE(the_bubble_is_idle_between_first_and_last_work) {
  auto traces = two_ranks();
  traces[1].events.push_back(compute(17.5, 18.5));
  const auto figures = rank_figures(traces);
  BOOST_TEST(figures[1].idle_within_s == 2, tt::tolerance(1e-9));
  BOOST_TEST(bubble_ratio(figures) == 2.0 / 8.0, tt::tolerance(1e-9));
}

BOOST_AUTO_TEST_CASE(traces_travel_as_text) {
  const auto traces = two_ranks();
  for (const auto& trace : traces) {
    BOOST_TEST(RankTrace::from_text(trace.to_text()).to_text() == trace.to_text());
    BOOST_TEST(RankTrace::from_text(trace.to_text()).events.size() == 2u);
  }
}

BOOST_AUTO_TEST_CASE(perfetto_gets_ranks_as_processes_and_microseconds) {
  const auto trace = chrome_trace(two_ranks());
  std::map<std::string, int> phases;
  for (const auto& event : trace.at("traceEvents")) ++phases[event.at("ph")];
  BOOST_TEST(phases["M"] == 2);
  BOOST_TEST(phases["X"] == 4);
  const auto& block = trace.at("traceEvents").back();
  BOOST_TEST(block.at("name") == "block 1");
  BOOST_TEST(block.at("ts").get<double>() == 2.5e6, tt::tolerance(1e-9));
  BOOST_TEST(block.at("dur").get<double>() == 3e6, tt::tolerance(1e-9));
  BOOST_TEST(block.at("args").at("layers")[1] == 3);
}

BOOST_AUTO_TEST_CASE(work_on_windows_is_named_by_their_frames) {
  auto traces = two_ranks();
  for (Event& event : traces[1].events) event.label.frames = {8, 20};
  const auto trace = chrome_trace(traces);
  const auto& window = trace.at("traceEvents").back();
  BOOST_TEST(window.at("name") == "frames 8..20");
  BOOST_TEST(window.at("args").at("frames")[1] == 20);
}

BOOST_AUTO_TEST_CASE(figures_of_a_rank_are_in_its_text) {
  RankTrace trace;
  trace.device_used_bytes = 3;
  trace.device_allocations = 7;
  trace.host_cache_bytes = 9;
  trace.events = {{.kind = Event::Kind::kToHost, .bytes = 5},
                  {.kind = Event::Kind::kFromHost, .bytes = 6},
                  {.kind = Event::Kind::kHostWait}};
  const RankTrace read = RankTrace::from_text(trace.to_text());
  BOOST_TEST(read.device_used_bytes == 3);
  BOOST_TEST(read.device_allocations == 7);
  BOOST_TEST(read.host_cache_bytes == 9);
  BOOST_TEST(read.events.size() == 3u);
  BOOST_TEST((read.events[1].kind == Event::Kind::kFromHost));
  BOOST_TEST(read.events[1].bytes == 6);
  const auto timeline = chrome_trace({read});
  BOOST_TEST(timeline.at("traceEvents").back().at("name") == "host_wait");
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
