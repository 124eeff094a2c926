// SPDX-License-Identifier: Apache-2.0
// Traces: what they count against hand counts of Wan's sizes, and their files.
#include "harness/trace/rank_trace.h"

#include "base/files.h"
#include "baselines/sequence_parallel.h"
#include "baselines/single.h"
#include "dualparal/dualparal.h"
#include "tests/ranks.h"
#include "tests/traced.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;

// Wan2.1-T2V-1.3B at 480 x 832.
TransformerConfig wan() {
  TransformerConfig config;
  config.num_attention_heads = 12;
  config.attention_head_dim = 128;
  config.num_layers = 30;
  config.ffn_dim = 8960;
  config.text_dim = 4096;
  config.freq_dim = 256;
  config.in_channels = config.out_channels = 16;
  return config;
}

Request wan_request(int64_t latent_frames, int64_t steps) {
  Request request = ranks_request(latent_frames, steps, 5.0);
  request.latent_height = 60;
  request.latent_width = 104;
  return request;
}

// FLOPs of a token in a layer that sees `keys` keys, by hand: query, key, value, output of self-attention, query and
// output of cross-attention: 6 h x h products; two h x ffn products; scores and weighted values over the keys and 512
// text tokens.
double token_flops(double keys) {
  const double h = 1536, ffn = 8960;
  return 2 * (6 * h * h + 2 * h * ffn) + 4 * h * (keys + 512);
}

BOOST_AUTO_TEST_SUITE(rank_trace)

BOOST_AUTO_TEST_CASE(work_of_wan_at_81_frames_is_the_hand_count) {
  const double tokens = 21 * 1560;
  const auto traces = trace_ranks(single_strategy(), {}, wan_request(21, 1), 1, wan(), at::kBFloat16);
  BOOST_TEST(flops_of(traces) == 2 * 30 * tokens * token_flops(tokens), tt::tolerance(0.01));
}

// 32 blocks: 12 latent frames, 30 times 8, then 5; a window has 4 more before it, and 4 cached frames behind all but
// the last.
BOOST_AUTO_TEST_CASE(work_of_dualparal_at_1025_frames_is_the_hand_count) {
  const double frame = 1560, tokens = 257 * frame;
  const double first = 12 * frame * token_flops(16 * frame), middle = 12 * frame * token_flops(16 * frame),
               last = 9 * frame * token_flops(9 * frame);
  const auto blocks = trace_ranks(dualparal_strategy(), {}, wan_request(257, 50), 8, wan(), at::kBFloat16);
  BOOST_TEST(flops_of(blocks) == 2 * 30 * 50 * (first + 30 * middle + last), tt::tolerance(0.02));

  // The sequence-parallel baselines do what one rank does, together: a step is a fiftieth of it.
  const auto whole = trace_ranks(ring_strategy(), {}, wan_request(257, 1), 8, wan(), at::kBFloat16);
  BOOST_TEST(flops_of(whole) == 2 * 30 * tokens * token_flops(tokens), tt::tolerance(0.01));
  const double ratio = 50 * flops_of(whole) / flops_of(blocks);
  BOOST_TEST(ratio == 7.21, tt::tolerance(0.02));
  const SlotCount slots = *plan_of(dualparal_strategy(), {}, wan_request(257, 50), 8, wan()).slots;
  BOOST_TEST(ratio * (1 - slots.bubble_ratio()) == 6.97, tt::tolerance(0.02));
}

BOOST_AUTO_TEST_CASE(files_hold_everything_and_say_what_is_wrong_with_them) {
  const TempFolder folder;
  const auto traces = trace_ranks(dualparal_strategy(), {}, ranks_request(30, 2), 2, tiny_transformer());
  write_traces(folder / "t", traces, {.strategy = "dualparal", .world_size = 2, .dtype = "fp32"});
  const TraceSet again = read_traces(folder / "t");
  BOOST_REQUIRE(again.ranks.size() == 2u);
  BOOST_TEST(again.run.strategy == "dualparal");
  for (size_t rank = 0; rank < 2; ++rank) BOOST_TEST(again.ranks[rank].to_text() == traces[rank].to_text());

  // Written again with fewer ranks: none of the old ones is left.
  write_traces(folder / "t", {traces[0]}, {.strategy = "dualparal", .world_size = 1, .dtype = "fp32"});
  BOOST_TEST(!fs::exists(folder / "t/rank_00001.jsonl"));

  expect_error({"nothing", "run.json"}, [&] { read_traces(folder / "nothing"); });
  write_traces(folder / "t", traces, {.strategy = "dualparal", .world_size = 3, .dtype = "fp32"});
  expect_error({"rank_00002.jsonl", "missing", "3 ranks"}, [&] { read_traces(folder / "t"); });
  write_traces(folder / "t", traces, {.strategy = "dualparal", .world_size = 2, .dtype = "fp32"});
  const std::string whole = traces[1].to_text();
  const size_t line = whole.rfind('\n', whole.size() - 2);
  write_file(folder / "t/rank_00001.jsonl", whole.substr(0, line + 1));
  expect_error({"rank_00001.jsonl", "cut off"}, [&] { read_traces(folder / "t"); });
  write_file(folder / "t/rank_00001.jsonl", whole.substr(0, line + 5));
  expect_error({"rank_00001.jsonl", "line"}, [&] { read_traces(folder / "t"); });
  write_file(folder / "t/rank_00001.jsonl", "{\"schema\": 7}\n");
  expect_error({"rank_00001.jsonl", "line 1", "schema"}, [&] { read_traces(folder / "t"); });
  const auto run = nlohmann::json::parse(read_file(folder / "t/run.json"));
  for (const auto& [name, value] :
       std::map<std::string, nlohmann::json>{{"world_size", "2"}, {"dtype", 32}, {"strategy", nullptr}}) {
    auto wrong = run;
    wrong[name] = value;
    write_file(folder / "t/run.json", wrong.dump());
    expect_error({"run.json", name}, [&] { read_traces(folder / "t"); });
  }
  write_file(folder / "t/run.json", "{");
  expect_error({"run.json"}, [&] { read_traces(folder / "t"); });
}

BOOST_AUTO_TEST_CASE(parts_of_layers_are_kept) {
  RankTrace trace;
  Event compute, whole{.kind = Event::Kind::kSend, .peer = 1};
  compute.label = {.block = 1, .step = 2, .first_layer = 3, .last_layer = 7};
  compute.label.first_part = kFeedForward;
  compute.label.last_part = kCrossAttention;
  trace.events = {compute, whole};
  const RankTrace read = RankTrace::from_text(trace.to_text());
  BOOST_TEST(read.events.at(0).label.first_part == kFeedForward);
  BOOST_TEST(read.events.at(0).label.last_part == kCrossAttention);
  BOOST_TEST(read.events.at(1).label.whole_layers());
  const std::string text = trace.to_text();
  const auto parts = text.find(",2,1]");  // at the end of the first event
  BOOST_REQUIRE(parts != std::string::npos);
  expect_error<Error>({"expected an event"},
                      [&] { RankTrace::from_text(std::string(text).replace(parts, 5, ",2,3]")); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
