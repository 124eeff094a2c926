// SPDX-License-Identifier: Apache-2.0
// Figures of events that were added up as they came, against those of the whole list, by another way: of every
// strategy, run by two ranks and simulated.
#include "harness/trace/event_sums.h"

#include <cmath>
#include <tuple>

#include "harness/options/strategies.h"
#include "harness/simulator/replay.h"
#include "harness/trace/rank_figures.h"
#include "harness/trace/rank_lines.h"
#include "harness/trace/repeated_section.h"
#include "tests/harness/simulator/instant_cluster.h"
#include "tests/ranks.h"
#include "tests/traced.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;
using Kind = Event::Kind;

constexpr double kSame = 1e-9;  // relative

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const auto& entry : strategies()) names.push_back(entry.name);
  return names;
}

// The definition, with all events at hand: what happens between first and last work is told by its times.
std::vector<RankFigures> figures_of_lists(const std::vector<RankTrace>& traces) {
  std::map<std::tuple<size_t, size_t, Channel>, std::vector<double>> sent;
  double end = 0;
  for (size_t rank = 0; rank < traces.size(); ++rank) {
    end = std::max(end, traces[rank].end_s);
    for (const Event& e : traces[rank].events)
      if (e.kind == Kind::kSend) sent[{rank, static_cast<size_t>(e.peer), e.channel}].push_back(e.begin_s);
  }
  std::vector<RankFigures> out;
  for (size_t rank = 0; rank < traces.size(); ++rank) {
    const RankTrace& trace = traces[rank];
    RankFigures figures;
    double first = HUGE_VAL, last = -HUGE_VAL, within = 0;
    std::map<std::tuple<size_t, size_t, Channel>, size_t> received;
    for (const Event& e : trace.events)
      if (e.kind == Kind::kCompute) {
        figures.compute_s += e.end_s - e.begin_s;
        first = std::min(first, e.begin_s);
        last = std::max(last, e.end_s);
      }
    for (const Event& e : trace.events) {
      if (e.kind == Kind::kCompute || e.kind == Kind::kOutput || e.kind == Kind::kVideo) continue;
      double blocked = e.end_s - e.begin_s;
      if (e.kind == Kind::kSend) figures.sent_bytes += e.bytes;
      if (e.kind == Kind::kReceive) {
        const std::tuple way{static_cast<size_t>(e.peer), rank, e.channel};
        blocked = e.end_s - std::clamp(sent.at(way).at(received[way]++), e.begin_s, e.end_s);
      }
      figures.communication_s += blocked;
      if (e.begin_s >= first && e.end_s <= last) within += blocked;
    }
    figures.idle_s = end - trace.begin_s - figures.compute_s - figures.communication_s;
    figures.span_s = last > first ? last - first : 0;
    figures.idle_within_s = std::max(0.0, figures.span_s - figures.compute_s - within);
    out.push_back(figures);
  }
  return out;
}

// Of differences, to so much of the whole.
void check_same(double actual, double expected, double whole) {
  BOOST_TEST(std::abs(actual - expected) <= kSame * whole);
}

void check_same(const std::vector<RankFigures>& actual, const std::vector<RankFigures>& expected) {
  BOOST_TEST_REQUIRE(actual.size() == expected.size());
  for (size_t rank = 0; rank < actual.size(); ++rank) {
    const RankFigures &a = actual[rank], &b = expected[rank];
    const double whole = b.compute_s + b.communication_s + b.idle_s;
    BOOST_TEST(a.compute_s == b.compute_s, tt::tolerance(kSame));
    BOOST_TEST(a.span_s == b.span_s, tt::tolerance(kSame));
    BOOST_TEST(a.sent_bytes == b.sent_bytes);
    check_same(a.communication_s, b.communication_s, whole);
    check_same(a.idle_s, b.idle_s, whole);
    check_same(a.idle_within_s, b.idle_within_s, whole);
  }
  BOOST_TEST(std::abs(bubble_ratio(actual) - bubble_ratio(expected)) <= kSame);
}

// A trace whose events were not kept, as ranks give it to each other.
RankTrace summed(RankTrace trace) {
  trace.sums = trace.summed();
  trace.events.clear();
  trace.repeat.reset();
  return RankTrace::from_text(trace.to_text());
}

std::vector<RankTrace> all_summed(const std::vector<RankTrace>& traces) {
  std::vector<RankTrace> out;
  for (const RankTrace& trace : traces) out.push_back(summed(trace));
  return out;
}

// Ranks that work together, as threads: what each did, once as a list and once as sums of what was handed over.
struct Measured {
  std::vector<RankTrace> lists, sums;
};

Measured measured(const StrategyEntry& entry, const Request& request, int64_t world_size) {
  const auto config = with_layers(4);
  const auto store = c10::make_intrusive<c10d::HashStore>();
  Measured out{std::vector<RankTrace>(world_size), std::vector<RankTrace>(world_size)};
  std::vector<std::thread> ranks;
  for (int64_t rank = 0; rank < world_size; ++rank)
    ranks.emplace_back([&, rank] {
      const c10::InferenceMode inference;
      at::set_num_threads(1);
      const auto comm = gloo_communicator(store, {rank, world_size, std::chrono::seconds(60), /*loopback=*/true});
      const auto strategy = entry.make(resolve_options(entry.name, entry.options, {}));
      LargeWeights weights;
      const StrategyPlan plan = plan_of(entry, {}, request, world_size, config);
      const Transformer transformer(config, weights, plan.parts.at(rank));
      Recorder recorder(at::kCPU);
      NullSink nowhere;
      comm->connect(plan.links());
      RankTrace trace;
      std::vector<Event> list;
      EventSums sums;
      recorder.hand_to([&](const Event& event) {
        list.push_back(event);
        sums.add(event);
      });
      trace.begin_s = event_clock();
      recorder.output(1);
      strategy->denoise({request, transformer, *comm, recorder, nowhere});
      trace.end_s = event_clock();
      recorder.end_handing();
      out.lists[rank] = out.sums[rank] = trace;
      out.lists[rank].events = list;
      out.sums[rank].sums = sums;
    });
  for (auto& rank : ranks) rank.join();
  return out;
}

BOOST_AUTO_TEST_SUITE(event_sums)

BOOST_DATA_TEST_CASE(figures_of_sums_are_those_of_the_list, data::make(names()), name) {
  const StrategyEntry& entry = find_strategy(name);
  const int64_t ranks = name == "single" ? 1 : 2;
  const Measured made = measured(entry, ranks_request(20, 5), ranks);
  const auto expected = figures_of_lists(made.lists);
  BOOST_TEST(expected[0].compute_s > 0);  // a window of context_windows holds it all: the other rank has none
  if (ranks > 1) BOOST_TEST(expected[1].communication_s + expected[1].idle_s > 0);
  check_same(rank_figures(made.lists), expected);
  check_same(rank_figures(made.sums), expected);
  check_same(rank_figures(all_summed(made.sums)), expected);  // doubles travel whole

  // The line has all of it.
  ResultLine of_lists, of_sums;
  set_rank_fields(of_lists, made.lists);
  set_rank_fields(of_sums, made.sums);
  BOOST_TEST((to_json(of_sums) == to_json(of_lists)));
  BOOST_TEST(of_sums.first_block_s.value() > 0);
}

BOOST_DATA_TEST_CASE(so_are_those_of_simulated_ranks, data::make(names()), name) {
  const StrategyEntry& entry = find_strategy(name);
  const int64_t ranks = name == "single" ? 1 : 4;
  Cluster cluster = instant(ranks);
  cluster.device_link = {1e8, 1e-6};
  cluster.message_s = 1e-6;
  const auto seconds = [&](const Event& event) { return cluster.compute_seconds(event.work, "fp32"); };
  const auto out = replay(trace_ranks(entry, {}, ranks_request(40, 5), ranks, with_layers(4)), cluster, seconds);
  const auto expected = figures_of_lists(out);
  BOOST_TEST((ranks == 1 || expected[1].communication_s > 0));
  check_same(rank_figures(out), expected);
  check_same(rank_figures(all_summed(out)), expected);
  BOOST_TEST(summed(out[0]).summed().work.flops() == out[0].summed().work.flops(), tt::tolerance(kSame));
  BOOST_TEST(out[0].summed().work.flops() > 0);
}

BOOST_AUTO_TEST_CASE(a_section_that_stands_for_many_counts_as_many) {
  const auto event = [](Kind kind, int64_t step, double begin, double end, int64_t bytes = 0) {
    return Event{.kind = kind, .label = {.step = step}, .peer = 1, .bytes = bytes, .begin_s = begin, .end_s = end};
  };
  RankTrace trace{.end_s = 12};
  for (int64_t step = 0; step < 4; ++step) {
    const auto begin = 3.0 * static_cast<double>(step);
    trace.events.push_back(event(Kind::kCompute, step, begin, begin + 2));
    trace.events.back().work = {.matmul_flops = 7, .operations = 1};
    trace.events.push_back(event(Kind::kSend, step, begin + 2, begin + 2.5, 10));
  }
  trace.events.push_back(event(Kind::kOutput, 4, 12, 12));
  BOOST_TEST_REQUIRE(repeat_section(trace, SectionMark::kStep, 1, 1, 4));
  trace.repeat->period_s = 3;
  const RankTrace whole = expanded(trace);
  const EventSums sums = trace.summed(), of_whole = whole.summed();
  BOOST_TEST(sums.compute_s == 16, tt::tolerance(kSame));
  BOOST_TEST(sums.blocked_s == of_whole.blocked_s, tt::tolerance(kSame));
  BOOST_TEST(sums.blocked_within_s == 3.5, tt::tolerance(kSame));  // not the last one
  BOOST_TEST(of_whole.blocked_within_s == 3.5, tt::tolerance(kSame));
  BOOST_TEST(sums.sent_bytes == 80);
  BOOST_TEST(sums.work.matmul_flops == 56);
  BOOST_TEST(sums.work.operations == 8);
  BOOST_TEST(sums.outputs.at(0) == of_whole.outputs.at(0), tt::tolerance(kSame));
}

BOOST_AUTO_TEST_CASE(times_move_and_scale_together) {
  const auto event = [](Kind kind, double begin, double end) {
    return Event{.kind = kind, .peer = 1, .begin_s = begin, .end_s = end};
  };
  std::vector<Event> events{event(Kind::kVideo, 0, 0), event(Kind::kReceive, 0, 1), event(Kind::kCompute, 1, 2),
                            event(Kind::kWait, 2, 4),  event(Kind::kSend, 4, 5),    event(Kind::kCompute, 5, 6),
                            event(Kind::kSend, 6, 7),  event(Kind::kOutput, 7, 7)};
  EventSums sums, expected;
  const ClockLine line{.offset_s = 100, .rate = 1.5};
  for (Event& e : events) {
    sums.add(e);
    e.begin_s = line.at(e.begin_s);
    e.end_s = line.at(e.end_s);
    expected.add(e);
  }
  sums.move(line);
  BOOST_TEST((to_json(sums) == to_json(expected)));
  BOOST_TEST(sums.blocked_within_s == 4.5);
  BOOST_TEST(sums.blocked_since_s == 1.5);
  BOOST_TEST((to_json(event_sums_of(to_json(sums))) == to_json(sums)));
}

BOOST_AUTO_TEST_CASE(a_folder_of_traces_holds_events) {
  const TempFolder folder;
  RankTrace trace{.events = {{.kind = Kind::kCompute, .begin_s = 1, .end_s = 2}}};
  write_traces(folder / "t", {summed(trace)}, {.strategy = "single", .world_size = 1, .dtype = "fp32"});
  expect_error({"rank_00000.jsonl", "sums"}, [&] { read_traces(folder / "t"); });
  auto text = summed(trace).to_text();
  text.replace(text.find("\"compute_s\""), 11, "\"computes\"");
  expect_error({"line 1", "compute_s"}, [&] { RankTrace::from_text(text); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
