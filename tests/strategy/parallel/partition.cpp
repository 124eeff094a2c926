// SPDX-License-Identifier: Apache-2.0
#include "strategy/parallel/partition.h"

#include "base/measure/work_meter.h"
#include "harness/options/strategies.h"
#include "strategy/parallel/part_costs.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

// Every part of every layer once, all tokens of it, in order; embedding first and head last.
void check_complete(const std::vector<TransformerParts>& stages, int64_t layers) {
  LayerPosition next;
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    const TransformerParts& parts = stages[stage];
    BOOST_TEST((parts.layers.begin == next.layer && parts.layers.from == next.cut));
    next = parts.layers.to == LayerCut{kLayerParts, 0} ? LayerPosition{parts.layers.end, {}}
                                                       : LayerPosition{parts.layers.end - 1, parts.layers.to};
    BOOST_TEST(parts.embed == (stage == 0));
    BOOST_TEST(parts.head == (stage + 1 == stages.size()));
  }
  BOOST_TEST((next == LayerPosition{layers, {}}));
  for (const int64_t tokens : {1, 7, 1560})
    for (int64_t layer = 0; layer < layers; ++layer)
      for (int64_t part = 0; part < kLayerParts; ++part) {
        int64_t done = 0;
        for (const TransformerParts& parts : stages) {
          if (!parts.layers.contains(layer)) continue;
          const TokenSpan share = parts.layers.share(layer, tokens)[part];
          if (share.size() <= 0) continue;
          BOOST_TEST(share.begin == done);
          BOOST_TEST(parts.layers.holds(layer, part));
          done = share.end;
        }
        BOOST_TEST(done == tokens);
      }
}

double largest_to_mean(const std::vector<TransformerParts>& stages, const PartCosts& costs) {
  double most = 0, all = 0;
  for (const TransformerParts& parts : stages) {
    most = std::max(most, costs.of(parts));
    all += costs.of(parts);
  }
  return most * static_cast<double>(stages.size()) / all;
}

// Wan2.1-1.3B, blocks of 8 frames with 4 of context on either side, 480 x 832.
Workload wan_1_3b() {
  Workload work;
  work.config.num_attention_heads = 12;
  work.config.attention_head_dim = 128;
  work.config.ffn_dim = 8960;
  work.config.freq_dim = 256;
  work.config.in_channels = work.config.out_channels = 16;
  work.config.text_dim = 4096;
  work.config.num_layers = 30;
  work.batch = 2;
  work.frame_tokens = 1560;
  work.element_bytes = 2;
  work.text_tokens = 512;
  work.device = at::kCUDA;
  return work;
}
const TypicalWindow kWindow{12 * 1560, 16 * 1560};

}  // namespace

BOOST_AUTO_TEST_SUITE(partition_of_layers)

BOOST_AUTO_TEST_CASE(a_shared_part_is_shared_by_small_windows) {
  const LayerPosition within{2, {kSelfAttention, 8}};
  const auto before = LayerRange::between({0}, within), behind = LayerRange::between(within, {5});
  const auto split = [&](int64_t tokens) {
    BOOST_TEST(before.share(2, tokens)[kSelfAttention].end == behind.share(2, tokens)[kSelfAttention].begin);
    return std::pair(before.share(2, tokens)[kSelfAttention].size(), behind.share(2, tokens)[kSelfAttention].size());
  };
  BOOST_TEST((split(1000) == std::pair<int64_t, int64_t>(8, 992)));
  BOOST_TEST((split(120) == std::pair<int64_t, int64_t>(1, 119)));
  BOOST_TEST((split(1) == std::pair<int64_t, int64_t>(0, 1)));
}

// Blocks of three latent frames and of one, of a token each.
BOOST_AUTO_TEST_CASE(what_is_too_small_to_be_shared_is_refused) {
  Workload work = wan_1_3b();
  work.world_size = 2;
  work.frame_tokens = 1;
  work.latent_frames = 4;
  work.steps = 3;
  const auto& entry = find_strategy("dualparal");
  const auto plan = [&](const std::string& partition) {
    const OptionValues given{{"block-frames", "3"}, {"context-frames", "0"}, {"partition", partition}};
    return entry.make(resolve_options(entry.name, entry.options, given))->plan(work);
  };
  expect_error<UsageError>({"--partition", "none in others"}, [&] { plan("2:self:0.5"); });
  BOOST_CHECK_NO_THROW(plan("2:ffn:0.5"));
}

BOOST_DATA_TEST_CASE(every_layer_once_and_as_even_as_can_be,
                     data::make({1, 5, 8, 9, 30, 40}) * data::make({1, 2, 3, 4, 8}), layers, ranks) {
  auto config = tiny_transformer();
  config.num_layers = layers;
  if (ranks > layers) return expect_error<UsageError>({"cannot be split"}, [&] { partition(config, ranks); });
  const auto parts = partition(config, ranks);
  BOOST_TEST(parts.size() == static_cast<size_t>(ranks));
  int64_t next = 0;
  for (int64_t stage = 0; stage < ranks; ++stage) {
    BOOST_TEST(parts[stage].layers.begin == next);
    next = parts[stage].layers.end;
    BOOST_TEST(parts[stage].layers.size() >= layers / ranks);
    BOOST_TEST(parts[stage].layers.size() <= (layers + ranks - 1) / ranks);
    BOOST_TEST(parts[stage].embed == (stage == 0));
    BOOST_TEST(parts[stage].head == (stage == ranks - 1));
  }
  BOOST_TEST(next == layers);
  // Embedding and head cost something: where layers do not divide, both ends have no more than the middle.
  if (ranks > 2 && layers % ranks != 0 && layers % ranks <= ranks - 2) {
    BOOST_TEST(parts.front().layers.size() == layers / ranks);
    BOOST_TEST(parts.back().layers.size() == layers / ranks);
  }
}

BOOST_DATA_TEST_CASE(balanced_stages_hold_all_parts_once,
                     data::make({1, 2, 5, 8, 30}) * data::make({1, 2, 3, 4, 8, 10, 16, 60}), layers, stages) {
  auto config = tiny_transformer();
  config.num_layers = layers;
  const PartCosts costs{{70, 6, 24}, 4, 3, 3};
  if (stages > 2 * layers)
    return expect_error<UsageError>({"half a layer"}, [&] { balanced_partition(config, stages, costs); });
  const auto parts = balanced_partition(config, stages, costs);
  BOOST_TEST(static_cast<int64_t>(parts.size()) == stages);
  check_complete(parts, layers);
  for (const TransformerParts& stage : parts) BOOST_TEST(costs.of(stage) > 0);
  BOOST_TEST(largest_to_mean(parts, costs) < 1.03 * 1.01);  // a hundredth for plainer cuts
}

// What whole layers cannot do: 30 layers over 8 ranks are 4, 4, ..., 3.
BOOST_AUTO_TEST_CASE(thirty_layers_over_eight_ranks_are_balanced) {
  const Workload work = wan_1_3b();
  const PartCosts costs = trace_part_costs(work, kWindow);
  BOOST_TEST(largest_to_mean(partition(work.config, 8), costs) > 1.06);
  const auto balanced = balanced_partition(work.config, 8, costs);
  BOOST_TEST(largest_to_mean(balanced, costs) < 1.02);
  double all = 0;
  for (const TransformerParts& parts : balanced) all += costs.of(parts);
  // Keys and values that two stages make are little.
  BOOST_TEST(all < 1.03 * (30 * costs.layer() + costs.embed + costs.head));
}

// "7:self:0.967" is two stages that make a layer's keys and values for a thirtieth of its queries.
BOOST_AUTO_TEST_CASE(stages_are_not_cut_for_almost_nothing) {
  auto config = tiny_transformer();
  config.num_layers = 8;
  BOOST_TEST(stage_starts(balanced_partition(config, 4, {{70, 6, 24}, 4, 0.5, 0.5})) == "2,4,6");
  config.num_layers = 3;
  BOOST_TEST(stage_starts(balanced_partition(config, 2, {{50, 25, 25}, 4, 0.4, 0.1})) == "1:cross");
  // Where it is worth more than a hundredth, a part is shared.
  const PartCosts costs{{80, 10, 10}, 4, 0, 0};
  const auto shared = balanced_partition(config, 2, costs);
  BOOST_TEST(stage_starts(shared).starts_with("1:self:0."));
  BOOST_TEST(largest_to_mean(shared, costs) < 1.02);
}

BOOST_AUTO_TEST_CASE(costs_are_traced_once_for_each_workload) {
  Workload work = wan_1_3b();
  const TypicalWindow window{77, 99};
  const PartCosts first = trace_part_costs(work, window);
  work.text_tokens = 77;
  const PartCosts fewer = trace_part_costs(work, window);
  BOOST_TEST(fewer.parts[kCrossAttention] < first.parts[kCrossAttention]);
  BOOST_TEST(fewer.parts[kFeedForward] == first.parts[kFeedForward]);
  const WorkMeter meter;  // a further trace would need one of its own
  BOOST_TEST(trace_part_costs(work, window).parts == fewer.parts);
  work.text_tokens = 78;
  expect_error({"meter already"}, [&] { trace_part_costs(work, window); });
  work.text_tokens = 0;
  expect_error({"text tokens"}, [&] { trace_part_costs(work, window); });
}

// Worked out by hand: products and attention of all tokens, both halves.
BOOST_AUTO_TEST_CASE(traced_costs_hold_the_operations_that_are_known) {
  const Workload work = wan_1_3b();
  const PartCosts costs = trace_part_costs(work, kWindow);
  const double tokens = 2.0 * static_cast<double>(kWindow.tokens), dim = 1536;
  const double known[] = {tokens * (8 * dim * dim + 4 * dim * static_cast<double>(kWindow.seen)),
                          tokens * (4 * dim * dim + 4 * dim * 512), tokens * 4 * dim * 8960};
  for (int64_t part = 0; part < kLayerParts; ++part) {
    BOOST_TEST(costs.parts[part] > known[part]);  // what moves comes on top
    BOOST_TEST(costs.parts[part] < (part == kCrossAttention ? 3 : 1.5) * known[part]);
  }
  BOOST_TEST(costs.key_value > tokens * 4 * dim * dim);
  BOOST_TEST(costs.key_value < 0.3 * costs.parts[0]);
}

BOOST_AUTO_TEST_CASE(stages_begin_where_they_are_told_to) {
  auto config = tiny_transformer();
  config.num_layers = 8;
  const char* starts = "2,3:cross,5:ffn:0.250,7:self:0.500";
  const auto parts = given_partition(config, 5, starts);
  check_complete(parts, 8);
  BOOST_TEST(stage_starts(parts) == starts);
  BOOST_TEST(stage_starts(partition(config, 3)) == "3,6");
  BOOST_TEST(parts[1].layers.holds(3, kSelfAttention));
  BOOST_TEST(!parts[1].layers.holds(3, kCrossAttention));
  BOOST_TEST(parts[2].layers.share(5, 1000)[kFeedForward].end == 250);
  BOOST_TEST(parts[4].layers.carried_in(100) == 50);
  BOOST_TEST(parts[3].layers.carried_out(100) == 50);
  const auto refuse = [&](const char* text, const std::vector<std::string>& words) {
    expect_error<UsageError>(words, [&] { given_partition(config, 3, text); });
  };
  refuse("2", {"--partition", "1 place", "expected 2"});
  refuse("4,4", {"'4'", "not behind"});
  refuse("3:cross,3", {"'3'", "not behind"});
  refuse("0,3", {"'0'", "not behind"});
  refuse("3,8", {"'8'", "last layer"});
  refuse("3,x", {"'x'"});
  refuse("3,4:mlp", {"'4:mlp'", "self, cross, ffn"});
  refuse("3,4:ffn:1", {"'4:ffn:1'", "share"});
  refuse("3,4:ffn:nan", {"'4:ffn:nan'", "share"});
  refuse("even", {"'even'"});
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal::testing
