// SPDX-License-Identifier: Apache-2.0
// A stage's ranks as one: what they exchange is one event, and a simulation takes as long as one of all ranks.
#include "harness/shorten/stage_as_one.h"

#include "dualparal/dualparal.h"
#include "harness/simulator/replay.h"
#include "tests/harness/simulator/instant_cluster.h"
#include "tests/ranks.h"
#include "tests/traced.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;
using Kind = Event::Kind;

Event message(Kind kind, int64_t peer, int64_t bytes) { return {.kind = kind, .peer = peer, .bytes = bytes}; }
double by_work(const Event& event) { return event.work.flops() / 1e9; }
double latency(const std::vector<RankTrace>& traces) {
  double last = 0;
  for (const RankTrace& trace : traces) last = std::max(last, trace.end_s);
  return last;
}

BOOST_AUTO_TEST_SUITE(stages_as_one)

BOOST_AUTO_TEST_CASE(an_exchange_is_one_event_and_peers_are_stages) {
  // Rank 3 of stages of three: to 4 and 5 and back, twice, then on to rank 6.
  const RankTrace stage = stage_as_one(
      {.events = {message(Kind::kSend, 4, 10), message(Kind::kSend, 5, 20), message(Kind::kReceive, 4, 15),
                  message(Kind::kReceive, 5, 16), message(Kind::kWait, 4, 0), message(Kind::kWait, 5, 0),
                  message(Kind::kSend, 4, 7), message(Kind::kSend, 5, 7), message(Kind::kReceive, 4, 1),
                  message(Kind::kReceive, 5, 1), message(Kind::kSend, 6, 100), message(Kind::kWait, 6, 0)}},
      3, 3);
  BOOST_TEST(stage.ranks == 3);
  const std::vector<Event> expected{message(Kind::kExchange, 2, 31), message(Kind::kExchange, 2, 14),
                                    message(Kind::kSend, 2, 100), message(Kind::kWait, 2, 0)};
  BOOST_REQUIRE(stage.events.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    BOOST_TEST((stage.events[i].kind == expected[i].kind));
    BOOST_TEST(stage.events[i].peer == expected[i].peer);
    BOOST_TEST(stage.events[i].bytes == expected[i].bytes);
  }
  BOOST_TEST(RankTrace::from_text(stage.to_text()).ranks == 3);
}

BOOST_AUTO_TEST_CASE(ranks_that_do_not_do_the_same_are_refused) {
  check_stages({{.events = {message(Kind::kSend, 1, 1)}}, {.events = {message(Kind::kReceive, 0, 1)}}});
  expect_error({"--stages-as-one", "stage 0", "1 messages more", "stage 1"}, [] {
    check_stages({{.events = {message(Kind::kSend, 1, 1)}}, {.events = {}}});
  });
}

struct Case {
  int64_t ranks, degree;
  double device_bytes_per_s, message_s;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.ranks << " ranks, stages of " << c.degree << ", " << c.device_bytes_per_s << " bytes/s, "
             << c.message_s;
}
// Computing, bytes or messages take most of the time; six heads do not divide by four ranks.
const Case kCases[] = {{8, 2, 1e9, 0}, {8, 2, 2e6, 1e-4}, {16, 4, 1e9, 1e-3}, {16, 4, 2e7, 1e-4}, {12, 3, 2e7, 2e-4}};

BOOST_DATA_TEST_CASE(it_takes_as_long_as_all_ranks, data::make(kCases), c) {
  Cluster cluster = instant(c.degree);
  cluster.nodes = c.ranks / c.degree;
  cluster.device_link = {c.device_bytes_per_s, 1e-5};
  cluster.adapter_link = {c.device_bytes_per_s / 4, 1e-5};
  cluster.message_s = c.message_s;
  TransformerConfig config = with_layers(4);
  config.num_attention_heads = 6;
  auto all = trace_ranks(dualparal_strategy(),
                         {{"block-frames", "4"},
                          {"context-frames", "2"},
                          {"previous-context", "matched_kv"},
                          {"sequence-degree", std::to_string(c.degree)},
                          {"guidance-parallel", "on"}},
                         ranks_request(50, 8), c.ranks, config);
  for (RankTrace& one : all)  // as traces of the program have it
    std::erase_if(one.events, [](const Event& e) { return e.kind == Kind::kCompute && e.work.operations == 0; });
  std::vector<RankTrace> stages;
  for (int64_t rank = 0; rank < c.ranks; rank += c.degree) stages.push_back(stage_as_one(all[rank], rank, c.degree));
  check_stages(stages);
  const double whole = latency(replay(all, cluster, by_work)), as_one = latency(replay(stages, cluster, by_work));
  BOOST_TEST(as_one == whole, tt::tolerance(0.01));
  BOOST_TEST(latency(replay_uncontended(stages, cluster, by_work)) <= 1.001 * as_one);
  // The exchanges are part of it.
  for (RankTrace& stage : stages) std::erase_if(stage.events, [](const Event& e) { return e.kind == Kind::kExchange; });
  BOOST_TEST(latency(replay(stages, cluster, by_work)) < 0.998 * whole);
}

BOOST_AUTO_TEST_CASE(shared_links_are_refused) {
  Cluster cluster = instant(4);
  const std::vector<RankTrace> stage{{.ranks = 2}};
  replay(stage, cluster, by_work);
  cluster.host_link = {1e9, 0};
  expect_error({"links.host", "--stages-as-one"}, [&] { replay(stage, cluster, by_work); });
  cluster.host_link = {};
  cluster.devices_per_node = 3;
  expect_error({"2 ranks of a stage", "3"}, [&] { replay(stage, cluster, by_work); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
