// SPDX-License-Identifier: Apache-2.0
// The simulator against what can be said without one: sums, shared links, the slots of pipelines, memory.
#include <cmath>
#include <fstream>

#include "baselines/naive_pipeline.h"
#include "dualparal/dualparal.h"
#include "harness/simulator/calibrate.h"
#include "harness/simulator/replay.h"
#include "harness/simulator/share_sweep.h"
#include "harness/simulator/simulate.h"
#include "harness/trace/rank_figures.h"
#include "tests/harness/simulator/instant_cluster.h"
#include "tests/ranks.h"
#include "tests/traced.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;
using Kind = Event::Kind;

Event compute(double seconds) { return {.kind = Kind::kCompute, .begin_s = 0, .end_s = seconds}; }
Event message(Kind kind, int64_t peer, int64_t bytes) { return {.kind = kind, .peer = peer, .bytes = bytes}; }
double given(const Event& event) { return event.end_s - event.begin_s; }

// A second for every job that goes through layers; the sampler's steps, which slots do not count, are left out.
std::vector<RankTrace> in_slots(std::vector<RankTrace> traces, int64_t ranks) {
  for (RankTrace& trace : traces)
    std::erase_if(trace.events,
                  [](const Event& e) { return e.kind == Kind::kCompute && e.label.last_layer < e.label.first_layer; });
  return replay(traces, instant(ranks), [](const Event&) { return 1.0; });
}

BOOST_AUTO_TEST_SUITE(simulator)

BOOST_AUTO_TEST_CASE(a_message_takes_latency_and_bytes_while_its_sender_goes_on) {
  Cluster cluster = instant(2);
  cluster.device_link = {1e6, 0.5};
  const std::vector<RankTrace> traces{{.events = {compute(2), message(Kind::kSend, 1, 3'000'000), compute(1)}},
                                      {.events = {compute(1), message(Kind::kReceive, 0, 3'000'000), compute(4)}}};
  const auto out = replay(traces, cluster, given);
  BOOST_TEST(out[0].end_s == 3, tt::tolerance(1e-6));
  BOOST_TEST(out[1].events[1].end_s == 2 + 0.5 + 3, tt::tolerance(1e-6));
  BOOST_TEST(out[1].end_s == 9.5, tt::tolerance(1e-6));
  const auto figures = rank_figures(out);
  BOOST_TEST(figures[1].idle_s == 1, tt::tolerance(1e-6));             // before it was sent
  BOOST_TEST(figures[1].communication_s == 3.5, tt::tolerance(1e-6));  // from then on
}

BOOST_AUTO_TEST_CASE(a_wait_for_a_send_ends_when_the_bytes_are_there) {
  Cluster cluster = instant(2);
  cluster.device_link = {1e6, 0};
  const auto out = replay({{.events = {message(Kind::kSend, 1, 2'000'000), message(Kind::kWait, 1, 0)}},
                           {.events = {message(Kind::kReceive, 0, 2'000'000)}}},
                          cluster, given);
  BOOST_TEST(out[0].end_s == 2, tt::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(exchanges_that_cannot_be_are_refused) {
  const auto refused = [](const Event& event, const char* what) {
    expect_error({"rank 0", what}, [&] { replay({{.events = {event}}}, instant(2), given); });
  };
  refused(message(Kind::kExchange, 0, 8), "0 others");
  refused(message(Kind::kExchange, -2, 8), "-2 others");
  refused(message(Kind::kExchange, 1, -8), "-8 bytes");
  refused({.kind = Kind::kToHost, .bytes = -8}, "-8 bytes");
}

BOOST_AUTO_TEST_CASE(sections_that_would_fill_the_memory_are_refused) {
  // Ranks that never come into step: each time takes longer than the one before.
  RankTrace trace{.events = std::vector<Event>(1000, compute(1)),
                  .repeat = Repeat{.begin = 100, .end = 900, .times = 1'000'000'000}};
  double seconds = 0;
  expect_error({"events", "written out"},
               [&] { replay_uncontended({trace}, instant(2), [&](const Event&) { return seconds += 1e-9; }); });
}

BOOST_AUTO_TEST_CASE(what_shares_a_link_shares_its_bandwidth) {
  // Ranks 0 and 1 send to rank 2 and 3: apart, unless all goes through the host, which each transfer crosses twice.
  std::vector<RankTrace> traces(4);
  for (int64_t rank = 0; rank < 2; ++rank) {
    traces[rank].events = {message(Kind::kSend, rank + 2, 1'000'000)};
    traces[rank + 2].events = {message(Kind::kReceive, rank, 1'000'000)};
  }
  Cluster cluster = instant(4);
  cluster.device_link = {1e6, 0};
  BOOST_TEST(replay(traces, cluster, given)[3].end_s == 1, tt::tolerance(1e-6));
  cluster.host_link = {2e6, 0};
  BOOST_TEST(replay(traces, cluster, given)[3].end_s == 2, tt::tolerance(1e-6));
  // Two nodes: one network between them.
  cluster.host_link = {};
  cluster.nodes = cluster.devices_per_node = 2;
  cluster.node_link = {1e6, 0};
  BOOST_TEST(replay(traces, cluster, given)[3].end_s == 2, tt::tolerance(1e-6));
  // ... and each device with an adapter of its own in it, which alone counts where the network has room for all.
  cluster.adapter_link = {0.25e6, 1};
  BOOST_TEST(replay(traces, cluster, given)[3].end_s == 1 + 4, tt::tolerance(1e-6));
  cluster.node_link = {};
  BOOST_TEST(replay(traces, cluster, given)[3].end_s == 1 + 4, tt::tolerance(1e-6));
}

// A message alone takes as long; where they share links, nothing is later.
BOOST_AUTO_TEST_CASE(without_contention_nothing_is_later) {
  std::vector<RankTrace> traces(4);
  traces[0].events = {compute(2), message(Kind::kSend, 3, 3'000'000), compute(1), message(Kind::kWait, 3, 0)};
  traces[3].events = {message(Kind::kReceive, 0, 3'000'000), compute(1)};
  Cluster cluster = instant(2);
  cluster.nodes = 2;
  cluster.device_link = {2e6, 0.1};
  cluster.message_s = 0.01;
  const auto check_same = [&] {
    const auto out = replay(traces, cluster, given), least = replay_uncontended(traces, cluster, given);
    for (size_t rank = 0; rank < traces.size(); ++rank)
      for (size_t i = 0; i < traces[rank].events.size(); ++i)
        BOOST_TEST(least[rank].events[i].end_s == out[rank].events[i].end_s, tt::tolerance(1e-6));
  };
  cluster.node_link = {1e6, 0.2};
  check_same();
  cluster.adapter_link = {0.5e6, 0.4};
  check_same();
  cluster.host_link = {0.3e6, 0.8};
  check_same();
  cluster.nodes = 1;
  cluster.devices_per_node = 4;
  check_same();
  // Another on the way at the same time.
  traces[1].events = {compute(2), message(Kind::kSend, 2, 3'000'000)};
  traces[2].events = {message(Kind::kReceive, 1, 3'000'000)};
  const auto out = replay(traces, cluster, given), least = replay_uncontended(traces, cluster, given);
  BOOST_TEST(least[3].end_s < 0.7 * out[3].end_s);
  BOOST_TEST(least[0].end_s < 0.7 * out[0].end_s);
  expect_error({"wait for each other", "rank 1"}, [&] {
    const RankTrace one{.events = {message(Kind::kReceive, 1, 5), message(Kind::kSend, 1, 5)}};
    const RankTrace other{.events = {message(Kind::kReceive, 0, 5), message(Kind::kSend, 0, 5)}};
    replay_uncontended({one, other}, instant(2), given);
  });
}

BOOST_AUTO_TEST_CASE(copies_to_host_memory_follow_each_other_beside_computation) {
  const auto copy = [](Kind kind, int64_t bytes) { return Event{.kind = kind, .bytes = bytes}; };
  const std::vector<RankTrace> traces{{.events = {copy(Kind::kToHost, 2'000'000), copy(Kind::kFromHost, 1'000'000),
                                                  compute(1), copy(Kind::kHostWait, 0), compute(1)}}};
  Cluster cluster = instant(2);
  cluster.to_host_link = {1e6, 0};
  auto out = replay(traces, cluster, given);
  BOOST_TEST(out[0].events[3].begin_s == 1, tt::tolerance(1e-6));
  BOOST_TEST(out[0].events[3].end_s == 3, tt::tolerance(1e-6));  // one behind the other: 2 s and 1 s
  BOOST_TEST(rank_figures(out)[0].communication_s == 2, tt::tolerance(1e-6));
  BOOST_TEST(rank_figures(out)[0].sent_bytes == 0);
  // Without a way of its own: that of messages, where these go through the host.
  cluster.to_host_link = {};
  cluster.device_link = {2e6, 0};
  cluster.host_link = {1e18, 0};
  BOOST_TEST(replay(traces, cluster, given)[0].events[3].end_s == 1.5, tt::tolerance(1e-6));
  // What is begun and not waited for is done in the end.
  BOOST_TEST(replay({{.events = {copy(Kind::kToHost, 2'000'000), compute(0.5)}}}, cluster, given)[0].end_s == 0.5,
             tt::tolerance(1e-6));
  // A processor moves the bytes itself: read and written, at 1e9 a second.
  cluster.host_link = {};
  BOOST_TEST(replay(traces, cluster, given)[0].end_s == 2 + 2 * 3e-3, tt::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(copies_to_host_memory_share_it_with_messages) {
  Cluster cluster = instant(3);
  cluster.device_link = {1e6, 0};
  cluster.host_link = {1e6, 0};
  // A copy crosses the host's memory once, a message twice: together three times a megabyte at a megabyte a second.
  const auto out = replay({{.events = {message(Kind::kSend, 1, 1'000'000)}},
                           {.events = {message(Kind::kReceive, 0, 1'000'000)}},
                           {.events = {{.kind = Kind::kToHost, .bytes = 1'000'000}, {.kind = Kind::kHostWait}}}},
                          cluster, given);
  BOOST_TEST(std::max(out[1].end_s, out[2].end_s) == 3, tt::tolerance(1e-3));
}

BOOST_AUTO_TEST_CASE(ranks_that_share_a_device_share_its_time) {
  const std::vector<RankTrace> traces{{.events = {compute(3)}}, {.events = {compute(3)}}};
  BOOST_TEST(replay(traces, instant(2), given)[1].end_s == 3, tt::tolerance(1e-6));
  BOOST_TEST(replay(traces, instant(1), given)[1].end_s == 6, tt::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(messages_that_nobody_sends_are_refused) {
  expect_error({"do not belong together", "0>1"}, [] {
    replay({{.events = {compute(1)}}, {.events = {message(Kind::kReceive, 0, 5)}}}, instant(2), given);
  });
  expect_error({"rank 1", "rank 7"}, [] {
    replay({{.events = {}}, {.events = {message(Kind::kSend, 7, 5)}}}, instant(2), given);
  });
}

// Both receive before they send: SimGrid ends such a run as if it had come to its end.
BOOST_AUTO_TEST_CASE(ranks_that_wait_for_each_other_are_named) {
  const auto waiting = [](int64_t peer, int64_t block) {
    Event receive = message(Kind::kReceive, peer, 5);
    receive.label.block = block;
    return RankTrace{.begin_s = 0, .end_s = 2, .events = {compute(1), receive, message(Kind::kSend, peer, 5)}};
  };
  const std::vector<RankTrace> traces{waiting(1, 3), waiting(0, 4)};
  const std::vector<std::string> words{"wait for each other", "rank 0 at event 2 of 3", "waiting for rank 1: block 3",
                                       "rank 1 at event 2 of 3", "waiting for rank 0: block 4"};
  expect_error(words, [&] { replay(traces, instant(2), given); });
  // A third that is done is not named; nor does it make the others' wait a success.
  auto more = traces;
  more.push_back({.events = {compute(1)}});
  expect_error(words, [&] { replay(more, instant(3), given); });

  TraceSet set{.run = {.dtype = "fp32"}, .ranks = traces};
  for (RankTrace& rank : set.ranks) {
    rank.peak_memory_bytes = 1;
    rank.events[0].work = {.matmul_flops = 1e9, .operations = 3};
  }
  expect_error(words, [&] { calibrate({set}, instant(2)); });
}

BOOST_AUTO_TEST_CASE(times_that_no_event_can_take_are_refused) {
  for (const double seconds : {1e308, HUGE_VAL, static_cast<double>(NAN), -1.0})
    expect_error({"instant", "rank 1, computing block 0", "rates"}, [&] {
      replay({{.events = {compute(1)}}, {.events = {compute(2)}}}, instant(2),
             [&](const Event& event) { return event.end_s == 2 ? seconds : 1.0; });
    });
}

// Every job a second on every stage, messages none: the idle seconds are the algorithm's idle slots.
BOOST_DATA_TEST_CASE(idle_seconds_are_the_counted_slots, data::make({2, 3, 4, 8}), ranks) {
  const int64_t frames = 8 * (ranks + 3) + 4, steps = ranks + 4;
  for (const auto& [options, expected] : {std::pair<OptionValues, int64_t>{{}, ranks * ranks - ranks},
                                          {{{"previous-context", "matched"}}, (ranks - 1) * (ranks - 2)}}) {
    const auto entry = dualparal_strategy();
    const auto out =
        in_slots(trace_ranks(entry, options, ranks_request(frames, steps), ranks, with_layers(ranks)), ranks);
    double idle = 0;
    for (const RankFigures& figures : rank_figures(out)) idle += figures.idle_within_s;
    BOOST_TEST(idle == static_cast<double>(ranks * expected), tt::tolerance(1e-6));
    const SlotCount count = *plan_of(entry, options, ranks_request(frames, steps), ranks, with_layers(ranks)).slots;
    BOOST_TEST(idle == static_cast<double>(count.idle), tt::tolerance(1e-6));
  }
  const auto naive =
      in_slots(trace_ranks(naive_pipeline_strategy(), {}, ranks_request(9, 5), ranks, with_layers(ranks)), ranks);
  for (const RankFigures& figures : rank_figures(naive))
    BOOST_TEST(figures.idle_within_s == static_cast<double>((ranks - 1) * 4), tt::tolerance(1e-6));
}

// Videos of few blocks, which alone would not fill the pipeline.
BOOST_DATA_TEST_CASE(idle_seconds_of_a_list_are_the_counted_slots, data::make({2, 4}), ranks) {
  constexpr int64_t kVideos = 6, kSteps = 8;
  const auto entry = dualparal_strategy();
  const Request request = ranks_request(20, kSteps);
  const auto out = in_slots(trace_ranks(entry, {}, request, ranks, with_layers(ranks), at::kFloat, kVideos), ranks);
  double idle = 0;
  for (const RankFigures& figures : rank_figures(out)) idle += figures.idle_within_s;
  const SlotCount count = *plan_of(entry, {}, request, ranks, with_layers(ranks), kVideos).slots;
  BOOST_TEST(idle == static_cast<double>(count.idle), tt::tolerance(1e-6));
  // As of one long video, or less: a video's first block waits for none before it.
  BOOST_TEST(idle <= static_cast<double>(ranks * ranks * (ranks - 1)) + 1e-6);
  const SlotCount alone = *plan_of(entry, {}, request, ranks, with_layers(ranks)).repeated(kVideos).slots;
  BOOST_TEST(static_cast<double>(alone.idle) > 2 * idle);
}

BOOST_AUTO_TEST_CASE(too_much_memory_is_a_result) {
  constexpr int64_t kTwoGiB = int64_t{2} << 30;
  const TempFolder folder;
  Cluster cluster = instant(2);
  cluster.device_name = "small";
  cluster.device_memory_bytes = int64_t{3} << 30;
  cluster.device_reserved_bytes = int64_t{1} << 30;
  cluster.file = (folder / "c.yaml").string();
  std::ofstream(cluster.file) << cluster_yaml(cluster);
  TraceSet set{{.kind = ResultKind::kTraced, .world_size = 2, .dtype = "fp32"},
               {{.events = {compute(3)}, .peak_memory_bytes = int64_t{1} << 30},
                {.events = {compute(3)}, .peak_memory_bytes = kTwoGiB / 100 * 94}}};
  ResultLine line = simulated_line(set, replay(set.ranks, cluster, given), cluster, "measured");
  BOOST_TEST((line.status == ResultStatus::kOk));
  BOOST_TEST(line.latency_s.value() == 3, tt::tolerance(1e-6));
  BOOST_TEST((line.kind == ResultKind::kSimulated));
  BOOST_TEST((line.source_kind == ResultKind::kTraced));
  BOOST_TEST(line.memory_margin.value() == 0.06, tt::tolerance(1e-6));
  set.ranks[1].peak_memory_bytes = kTwoGiB / 100 * 96;  // too little is left to say that it fits
  line = simulated_line(set, replay(set.ranks, cluster, given), cluster, "measured");
  BOOST_TEST((line.status == ResultStatus::kFailed));
  BOOST_TEST(line.memory_margin.value() == 0.04, tt::tolerance(1e-6));
  BOOST_TEST(line.error.value().ends_with(": 4.0 % are left, too little to say that it fits (5 %)"));
  set.ranks[1].peak_memory_bytes = kTwoGiB + (1 << 20);
  line = simulated_line(set, replay(set.ranks, cluster, given), cluster, "measured");
  BOOST_TEST((line.status == ResultStatus::kFailed));
  BOOST_TEST(line.error.value().starts_with("out of memory: rank 1 needs 2.0 GiB, small has 2.0 GiB"));
  BOOST_TEST(!line.latency_s.has_value());
  BOOST_TEST(line.latency_without_memory_limit_s.value() == 3, tt::tolerance(1e-6));

  // Both ranks on one device.
  set.ranks[1].peak_memory_bytes = kTwoGiB / 100 * 40;
  cluster.devices_per_node = 1;
  BOOST_TEST((simulated_line(set, set.ranks, cluster, "measured").status == ResultStatus::kOk));
  set.ranks[0].peak_memory_bytes = kTwoGiB;
  line = simulated_line(set, set.ranks, cluster, "measured");
  BOOST_TEST(line.error.value().starts_with("out of memory: ranks 0, 1 on one device need 2.8 GiB, small has 2.0 GiB"));
}

BOOST_AUTO_TEST_CASE(a_sweep_moves_one_share_at_a_time) {
  Cluster cluster = instant(2);
  cluster.efficiency.range = 0.25;
  cluster.efficiency.matmul = 0.8;
  cluster.device_link.bytes_per_s = cluster.to_host_link.bytes_per_s = 100;
  const auto corners = share_sweep(cluster);
  BOOST_TEST(corners.size() == 8u);
  for (const auto& [name, corner] : corners) {
    BOOST_TEST(corner.efficiency.matmul == (name == "matmul low"    ? 0.6
                                            : name == "matmul high" ? 1.0
                                                                    : 0.8),
               tt::tolerance(1e-12));
    BOOST_TEST(corner.device_link.bytes_per_s == (name == "links low" ? 75 : name == "links high" ? 125 : 100));
    BOOST_TEST(corner.to_host_link.bytes_per_s == corner.device_link.bytes_per_s);
  }
}

// Operations add to the device's time, or go on beside it and last longer in some computations.
BOOST_DATA_TEST_CASE(calibration_finds_the_rates_that_made_the_times, data::make({false, true}), overlaps) {
  Cluster base = instant(2), real = instant(2);
  base.efficiency.operation_overlaps = overlaps;
  real.efficiency = {.basis = "assumed",
                     .matmul = 0.8,
                     .attention = 0.5,
                     .convolution = 1,
                     .memory = 0.25,
                     .operation_overlaps = overlaps};
  std::vector<TraceSet> sets;
  std::vector<double> device_s;  // of an operation
  for (int64_t frames : {4, 9, 17, 30}) {
    sets.push_back(
        {{.dtype = "fp32"}, trace_ranks(dualparal_strategy(), {}, ranks_request(frames, 2), 2, with_layers(6))});
    for (const RankTrace& rank : sets.back().ranks)
      for (const Event& e : rank.events)
        if (e.work.operations > 0)
          device_s.push_back(real.compute_seconds(e.work, "fp32") / static_cast<double>(e.work.operations));
  }
  std::ranges::sort(device_s);
  // Where they overlap, the host takes longer for half of the computations.
  real.efficiency.operation_s = overlaps ? device_s[device_s.size() / 2] : 2e-6;
  BOOST_TEST(device_s.front() < device_s.back() / 2);
  for (TraceSet& set : sets) {
    for (RankTrace& rank : set.ranks) {
      rank.timed = true;
      double now = 0;
      for (Event& e : rank.events) {
        e.begin_s = now;
        if (e.kind == Kind::kCompute) now += real.compute_seconds(e.work, "fp32");
        e.end_s = now;
      }
    }
  }
  const Calibration found = calibrate(sets, base);
  BOOST_TEST(found.median_error < 0.01);
  BOOST_TEST(found.cluster.efficiency.operation_overlaps == overlaps);
  BOOST_TEST(found.cluster.efficiency.operation_s == real.efficiency.operation_s, tt::tolerance(0.05));
  for (const RankTrace& rank : sets[1].ranks)
    for (const Event& e : rank.events)
      if (e.kind == Kind::kCompute && e.work.flops() > 0)
        BOOST_TEST(found.cluster.compute_seconds(e.work, "fp32") == e.end_s - e.begin_s, tt::tolerance(0.02));
  // What it writes can be read.
  const TempFolder folder;
  std::ofstream(folder / "c.yaml") << cluster_yaml(found.cluster);
  const Cluster again = read_cluster(folder / "c.yaml");
  BOOST_TEST(again.efficiency.matmul == found.cluster.efficiency.matmul, tt::tolerance(1e-4));
  BOOST_TEST(again.efficiency.basis == found.cluster.efficiency.basis);

  for (RankTrace& rank : sets[0].ranks) rank.timed = false;
  expect_error({"without times"}, [&] { calibrate(sets, instant(2)); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
