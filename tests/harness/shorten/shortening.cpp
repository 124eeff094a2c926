// SPDX-License-Identifier: Apache-2.0
// Short traces stand for the whole run's: the same events when written out, the same times when simulated.
#include "harness/shorten/shortening.h"

#include "harness/options/strategies.h"
#include "harness/simulator/replay.h"
#include "harness/trace/rank_figures.h"
#include "harness/trace/repeated_section.h"
#include "tests/ranks.h"
#include "tests/traced.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;

struct Case {
  std::string strategy;
  OptionValues options;
  int64_t ranks = 2, steps = 20, frames = 9;
  bool sections = true;  // a section stands for many
  std::optional<Lvsa> sparse = {};
  int64_t most_traced = -1;  // steps of latent frames in all traced runs; -1: any number

  friend std::ostream& operator<<(std::ostream& out, const Case& c) {
    out << c.strategy << " on " << c.ranks << ", " << c.frames << " latent frames, " << c.steps << " steps";
    for (const auto& [name, value] : c.options) out << " --" << name << " " << value;
    return out;
  }
};

const OptionValues kBlocks{{"block-frames", "4"}, {"context-frames", "2"}};

OptionValues blocks(OptionValues more) {
  more.insert(kBlocks.begin(), kBlocks.end());
  return more;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* name : {"single", "ring", "ulysses", "usp", "video_infinity", "naive_pipeline", "pipefusion"})
    all.push_back({.strategy = name, .options = {}, .ranks = std::string(name) == "single" ? 1 : 2});
  all.push_back({.strategy = "pipefusion", .options = {{"synchronous-steps", "3"}, {"patches", "3"}}});
  all.push_back({.strategy = "usp", .options = {{"guidance-parallel", "on"}}, .ranks = 4});
  all.push_back({.strategy = "ring", .options = {}, .sparse = Lvsa{.window = 1, .global_every = 3}});
  all.push_back({.strategy = "context_windows", .options = {{"window-frames", "5"}, {"overlap-frames", "2"}}});
  all.push_back({.strategy = "fifo", .options = {{"window-frames", "4"}}, .ranks = 3, .steps = 9, .frames = 30});
  all.push_back({.strategy = "fifo", .options = {{"window-frames", "4"}}, .ranks = 8, .steps = 9, .frames = 20});
  // A long video, whose queue is full for most of the time; its last block is shorter, or not.
  for (const char* previous : {"synchronous", "matched", "matched_kv"})
    for (const int64_t frames : {139, 142})
      all.push_back({.strategy = "dualparal",
                     .options = blocks({{"previous-context", previous}}),
                     .ranks = 3,
                     .steps = 16,
                     .frames = frames,
                     .most_traced = 1100});
  all.push_back({.strategy = "dualparal", .options = blocks({}), .ranks = 1, .steps = 16, .frames = 139});
  // More steps than blocks; as many; few steps.
  all.push_back({.strategy = "dualparal", .options = blocks({}), .steps = 40, .frames = 50});
  all.push_back({.strategy = "dualparal", .options = blocks({}), .steps = 50, .frames = 13});
  all.push_back({.strategy = "dualparal",
                 .options = blocks({{"sequence-degree", "2"}, {"previous-context", "matched_kv"}}),
                 .ranks = 4,
                 .steps = 50,
                 .frames = 21});
  all.push_back({.strategy = "dualparal", .options = blocks({}), .steps = 20, .frames = 82, .sections = false});
  all.push_back({.strategy = "dualparal", .options = blocks({}), .steps = 5, .frames = 139});
  all.push_back({.strategy = "dualparal", .options = blocks({{"feature-cache", "off"}}), .steps = 16, .frames = 139});
  all.push_back({.strategy = "dualparal",
                 .options = blocks({{"guidance-micro-batches", "2"}, {"previous-context", "matched"}}),
                 .steps = 16,
                 .frames = 139});
  all.push_back({.strategy = "dualparal", .options = blocks({{"window-position", "absolute"}}), .frames = 150});
  all.push_back({.strategy = "dualparal",
                 .options = blocks({{"sequence-degree", "2"}, {"previous-context", "matched"}}),
                 .ranks = 4,
                 .steps = 16,
                 .frames = 139});
  all.push_back({.strategy = "dualparal",
                 .options = blocks({{"sequence-degree", "2"}, {"guidance-parallel", "on"}}),
                 .ranks = 8,
                 .steps = 18,
                 .frames = 151});
  return all;
}

std::vector<RankTrace> trace_of(const Case& c, const RunSize& size) {
  Request request = ranks_request(size.latent_frames, size.steps);
  request.sparse_attention = c.sparse;
  return trace_ranks(find_strategy(c.strategy), c.options, request, c.ranks, with_layers(4));
}

WholeRun whole_run(const Case& c) {
  const StrategyEntry& entry = find_strategy(c.strategy);
  return {.repeats = entry.repeats,
          .options = resolve_options(entry.name, entry.options, c.options),
          .size = {c.steps, c.frames},
          .ranks = c.ranks,
          .step_period = c.sparse ? c.sparse->global_every : 1};
}

Cluster small_cluster(int64_t devices) {
  Cluster cluster;
  cluster.name = "small";
  cluster.device_name = "device";
  cluster.devices_per_node = devices;
  cluster.device_link = {1e8, 1e-6};
  cluster.message_s = 1e-6;
  cluster.memory_bytes_per_s = 1e10;
  cluster.flops_per_s = {{"fp32", 1e10}};
  cluster.efficiency.basis = "assumed";
  return cluster;
}

BOOST_AUTO_TEST_SUITE(shortening)

BOOST_DATA_TEST_CASE(short_traces_are_those_of_the_whole_run, data::make(cases()), c) {
  int64_t traced = 0;
  const auto made = short_traces(whole_run(c), [&](const RunSize& size) {
    traced += size.steps * size.latent_frames;
    return trace_of(c, size);
  });
  BOOST_TEST(traced < c.steps * c.frames);
  if (c.most_traced > 0) BOOST_TEST(traced <= c.most_traced);
  const auto whole = trace_of(c, {c.steps, c.frames});
  BOOST_REQUIRE(made.size() == whole.size());
  BOOST_TEST(made[0].repeat.has_value() == c.sections);
  for (size_t rank = 0; rank < whole.size(); ++rank) {
    const RankTrace out = expanded(made[rank]);
    BOOST_REQUIRE(out.events.size() == whole[rank].events.size());
    for (size_t i = 0; i < out.events.size(); ++i) {
      Event expected = whole[rank].events[i];
      BOOST_REQUIRE(alike(out.events[i], expected));
      if (out.events[i].label.block != expected.label.block || out.events[i].label.step != expected.label.step)
        BOOST_FAIL("event " << i << " of rank " << rank << ": " << out.events[i].text() << ", expected "
                            << expected.text());
    }
    BOOST_TEST(made[rank].summed().work.flops() == whole[rank].summed().work.flops(), tt::tolerance(1e-9));
    BOOST_TEST(made[rank].summed().work.operations == whole[rank].summed().work.operations);
    // In the file, too.
    const RankTrace read = RankTrace::from_text(made[rank].to_text());
    BOOST_TEST(expanded(read).events.size() == out.events.size());
  }

  const Cluster cluster = small_cluster(c.ranks);
  const auto seconds = [&](const Event& event) { return cluster.compute_seconds(event.work, "fp32"); };
  const auto slow = replay(whole, cluster, seconds), fast = replay(made, cluster, seconds);
  const auto expected = rank_figures(slow), figures = rank_figures(fast);
  BOOST_TEST(bubble_ratio(figures) == bubble_ratio(expected), tt::tolerance(1e-6));
  for (size_t rank = 0; rank < whole.size(); ++rank) {
    BOOST_TEST(fast[rank].latency_s() == slow[rank].latency_s(), tt::tolerance(1e-9));
    BOOST_TEST(figures[rank].compute_s == expected[rank].compute_s, tt::tolerance(1e-6));
    BOOST_TEST(figures[rank].communication_s + 1e-9 == expected[rank].communication_s + 1e-9, tt::tolerance(1e-4));
    BOOST_TEST(figures[rank].idle_s + 1e-9 == expected[rank].idle_s + 1e-9, tt::tolerance(1e-4));
    BOOST_TEST(figures[rank].sent_bytes == expected[rank].sent_bytes);
  }
  // Written out with its times, it is the whole run's timeline.
  for (size_t rank = 0; rank < whole.size(); ++rank) {
    const RankTrace out = expanded(fast[rank]);
    for (size_t i = 0; i < out.events.size(); ++i)
      if (std::abs(out.events[i].end_s - slow[rank].events[i].end_s) > 1e-6 * slow[rank].end_s)
        BOOST_FAIL("event " << i << " of rank " << rank << " ends at " << out.events[i].end_s << " s, expected "
                            << slow[rank].events[i].end_s);
  }
}

BOOST_AUTO_TEST_CASE(what_is_not_alike_is_traced_whole) {
  const Case c{.strategy = "single", .options = {}, .ranks = 1};
  std::vector<RunSize> sizes;
  const auto made = short_traces(whole_run(c), [&](const RunSize& size) {
    sizes.push_back(size);
    auto traces = trace_of(c, size);
    // A step that does more than the one before it.
    for (Event& event : traces[0].events)
      if (event.label.step == 4) event.work.moved_bytes *= 2;
    return traces;
  });
  BOOST_TEST(!made[0].repeat.has_value());
  BOOST_REQUIRE(sizes.size() == 2u);
  BOOST_TEST((sizes.back() == RunSize{c.steps, c.frames}));
}

BOOST_AUTO_TEST_CASE(a_section_is_written_out_as_often_as_it_happens) {
  const auto event = [](int64_t step, double seconds) {
    return Event{.kind = Event::Kind::kCompute, .label = {.step = step}, .live_bytes = 10 * step, .end_s = seconds};
  };
  RankTrace trace{.events = {event(0, 0), event(1, 0), event(2, 0), event(3, 0)}};
  BOOST_TEST(repeat_section(trace, SectionMark::kStep, 1, 1, 5));
  const RankTrace out = expanded(trace);
  BOOST_REQUIRE(out.events.size() == 9u);
  for (int64_t i = 0; i < 9; ++i) {
    BOOST_TEST(out.events[i].label.step == i);
    BOOST_TEST(out.events[i].live_bytes == 10 * i);
  }
  const RankTrace some = written_out(trace, 2, 1);
  BOOST_REQUIRE(some.events.size() == 7u);
  BOOST_TEST(some.repeat->times == 3);
  BOOST_TEST(some.events[some.repeat->begin].label.step == 3);
  BOOST_TEST(some.events[some.repeat->end].label.step == 6);
  expect_error({"6 times"}, [&] { written_out(trace, 5, 1); });
  expect_error({"9 events", "8"}, [&] { expanded(trace, 8); });
  expect_error({"repeat"}, [] {
    RankTrace::from_text(
        R"({"schema": 2, "timed": false, "begin_s": 0, "end_s": 0, "peak_memory_bytes": 0, "peak_reserved_bytes": 0, "weights_bytes": 0, "events": 0, "repeat": {"begin": 3, "end": 3, "times": 2, "blocks": 0, "steps": 1, "live_bytes": 0}})");
  });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
