// SPDX-License-Identifier: Apache-2.0
// What every strategy must hold, walked over the table: a new row is tested by being there.
#include "harness/options/strategies.h"
#include "tests/ranks.h"
#include "tests/strategy/independent_windows.h"

namespace dualparal::testing {
namespace {

constexpr int64_t kFrames = 14, kSteps = 3;
const TransformerConfig kConfig = with_layers(5);

std::vector<StrategyEntry> all_strategies() {
  auto all = strategies();
  all.push_back(independent_windows_strategy());
  return all;
}

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const auto& entry : all_strategies()) names.push_back(entry.name);
  return names;
}

StrategyEntry entry_of(const std::string& name) {
  for (auto& entry : all_strategies())
    if (entry.name == name) return entry;
  fail("no strategy '{}'", name);
}

Request request() { return ranks_request(kFrames, kSteps); }

BOOST_AUTO_TEST_SUITE(conformance)

BOOST_DATA_TEST_CASE(one_rank_denoises_every_frame, data::make(names()), name) {
  int64_t sent = -1;
  const at::Tensor latents = denoise_on_ranks(entry_of(name), {}, request(), 1, kConfig, at::kFloat, 0, &sent);
  BOOST_TEST((latents.sizes() == at::IntArrayRef{1, 16, kFrames, 4, 6}));
  BOOST_TEST(at::isfinite(latents).all().item<bool>());
  BOOST_TEST(sent == 0);
}

BOOST_DATA_TEST_CASE(noise_is_there_for_every_frame, data::make(names()), name) {
  const auto entry = entry_of(name);
  const at::Tensor noise = entry.make(resolve_options(name, entry.options, {}))->initial_noise(request());
  BOOST_TEST((noise.sizes() == at::IntArrayRef{1, 16, kFrames, 4, 6}));
}

BOOST_DATA_TEST_CASE(ranks_hold_all_layers_between_them, data::make(names()) * data::make({1, 3}), name, ranks) {
  if (name == "single" && ranks > 1) return;
  const StrategyPlan plan = plan_of(entry_of(name), {}, request(), ranks, kConfig);
  BOOST_TEST(static_cast<int64_t>(plan.parts.size()) == ranks);
  std::vector<bool> held(kConfig.num_layers, false);
  bool embed = false, head = false;
  for (const TransformerParts& parts : plan.parts) {
    for (int64_t layer = parts.layers.begin; layer < parts.layers.end; ++layer) held.at(layer) = true;
    embed = embed || parts.embed;
    head = head || parts.head;
  }
  BOOST_TEST(std::ranges::count(held, true) == kConfig.num_layers);
  BOOST_TEST((embed && head));
  BOOST_TEST(plan.key_value_tokens > 0);
}

// Messages over links that the plan does not name are refused while this runs.
BOOST_DATA_TEST_CASE(ranks_send_what_the_plan_says, data::make(names()) * data::make({2, 3}), name, ranks) {
  if (name == "single") return;
  int64_t sent = 0;
  denoise_on_ranks(entry_of(name), {}, request(), ranks, kConfig, at::kFloat, 0, &sent);
  const AnalyticCost cost = cost_of(entry_of(name), {}, request(), ranks, kConfig);
  BOOST_TEST(static_cast<double>(sent) == cost.sent_bytes, boost::test_tools::tolerance(0.01));
}

// Stages that begin within layers, by whatever share of a part's tokens: the latents are those of one rank, and the
// bytes those of the plan.
BOOST_DATA_TEST_CASE(stages_within_layers_change_nothing,
                     data::make({"naive_pipeline", "pipefusion", "dualparal"}) *
                         data::make({"balanced", "1:self:0.4,1:self:0.8", "1:cross,3:ffn", "2:ffn:0.3,4:self:0.01"}),
                     name, partition) {
  const auto entry = entry_of(name);
  OptionValues options{{"partition", partition}};
  if (entry.name == "dualparal") options.insert({{"block-frames", "3"}, {"context-frames", "2"}});
  OptionValues whole = options;
  whole["partition"] = "layers";
  const at::Tensor alone = denoise_on_ranks(entry, whole, request(), 1, kConfig);
  int64_t sent = 0;
  const at::Tensor split = denoise_on_ranks(entry, options, request(), 3, kConfig, at::kFloat, 0, &sent);
  BOOST_TEST(relative_error(split, alone) < 1e-5);
  BOOST_TEST(static_cast<double>(sent) == cost_of(entry, options, request(), 3, kConfig).sent_bytes);
}

BOOST_DATA_TEST_CASE(more_stages_than_layers, data::make({"naive_pipeline", "dualparal"}), name) {
  const auto entry = entry_of(name);
  const at::Tensor alone = denoise_on_ranks(entry, {}, request(), 1, with_layers(3));
  const at::Tensor split = denoise_on_ranks(entry, {{"partition", "balanced"}}, request(), 6, with_layers(3));
  BOOST_TEST(relative_error(split, alone) < 1e-5);
  expect_error<UsageError>({"3 layers", "6 ranks", "--partition balanced"},
                           [&] { plan_of(entry, {}, request(), 6, with_layers(3)); });
}

BOOST_AUTO_TEST_CASE(a_shared_self_attention_can_be_sparse) {
  Request sparse = request();
  sparse.sparse_attention = Lvsa{.window = 1, .global_every = 5};
  const auto entry = entry_of("naive_pipeline");
  const at::Tensor alone = denoise_on_ranks(entry, {}, sparse, 1, kConfig);
  BOOST_TEST(relative_error(denoise_on_ranks(entry, {}, request(), 1, kConfig), alone) > 1e-3);
  BOOST_TEST(relative_error(denoise_on_ranks(entry, {{"partition", "1:self:0.3,3:self:0.5"}}, sparse, 3, kConfig),
                            alone) < 1e-5);
}

BOOST_DATA_TEST_CASE(exact_strategies_give_what_single_gives, data::make(names()) * data::make({1, 3}), name, ranks) {
  if (!entry_of(name).exact || (name == "single" && ranks > 1)) return;
  const at::Tensor expected = denoise_on_ranks(entry_of("single"), {}, request(), 1, kConfig);
  BOOST_TEST(relative_error(denoise_on_ranks(entry_of(name), {}, request(), ranks, kConfig), expected) < 1e-4);
}

BOOST_DATA_TEST_CASE(guidance_halves_in_turn_give_what_a_batch_gives, data::make(names()) * data::make({1, 3}), name,
                     ranks) {
  const auto entry = entry_of(name);
  if (std::ranges::find(entry.options, "guidance-micro-batches", &OptionSpec::name) == entry.options.end() ||
      (name == "single" && ranks > 1))
    return;
  const OptionValues in_turn{{"guidance-micro-batches", "2"}};
  int64_t batched_bytes = 0, in_turn_bytes = 0;
  const at::Tensor expected = denoise_on_ranks(entry, {}, request(), ranks, kConfig, at::kFloat, 0, &batched_bytes);
  const at::Tensor actual = denoise_on_ranks(entry, in_turn, request(), ranks, kConfig, at::kFloat, 0, &in_turn_bytes);
  BOOST_TEST(relative_error(actual, expected) < 1e-5);
  BOOST_TEST(in_turn_bytes == batched_bytes);
  const auto held = [&](const OptionValues& given) {
    return cost_of(entry, given, request(), ranks, kConfig).key_value_bytes;
  };
  const bool keeps_both = name == "pipefusion";  // from step to step
  BOOST_TEST(held(in_turn) == held({}) / (keeps_both ? 1 : 2));
}

BOOST_AUTO_TEST_CASE(the_strategies_of_the_table_can_take_guidance_halves_in_turn) {
  for (const auto& entry : strategies())
    BOOST_TEST((std::ranges::find(entry.options, "guidance-micro-batches", &OptionSpec::name) != entry.options.end()),
               entry.name);
}

// With two experts, every strategy gives on three ranks what it gives on one, and sends what its plan says.
BOOST_DATA_TEST_CASE(two_experts_on_ranks, data::make(names()), name) {
  if (name == "single" || name == "video_infinity") return;  // whose clips are as many as the ranks
  const Request two = experts_request(kFrames);
  if (name == "pipefusion") {
    expect_error<UsageError>({"pipefusion", "two experts"}, [&] { plan_of(entry_of(name), {}, two, 1, kConfig); });
    return;
  }
  const at::Tensor alone = denoise_on_ranks(entry_of(name), {}, two, 1, kConfig);
  int64_t sent = 0;
  const at::Tensor split = denoise_on_ranks(entry_of(name), {}, two, 3, kConfig, at::kFloat, 0, &sent);
  BOOST_TEST(relative_error(split, alone) < 1e-4);
  BOOST_TEST(static_cast<double>(sent) == cost_of(entry_of(name), {}, two, 3, kConfig).sent_bytes,
             boost::test_tools::tolerance(0.01));
  Request first_only = two;
  first_only.boundary_timestep = 0;
  BOOST_TEST(relative_error(denoise_on_ranks(entry_of(name), {}, first_only, 1, kConfig), alone) > 1e-3);
  if (entry_of(name).exact)
    BOOST_TEST(relative_error(alone, denoise_on_ranks(entry_of("single"), {}, two, 1, kConfig)) < 1e-4);
}

// What an image says of a frame belongs to the frame's place in the video: in every strategy that takes images, frames
// are told of their own condition.
BOOST_DATA_TEST_CASE(conditions_go_with_their_frames, data::make(names()), name) {
  auto config = kConfig;
  config.in_channels = 36;
  Request conditioned = request();
  conditioned.condition = randn({1, 20, kFrames, 4, 6}, 77);
  if (name == "fifo") {
    expect_error<UsageError>({"fifo", "image"}, [&] { plan_of(entry_of(name), {}, conditioned, 1, config); });
    return;
  }
  const OptionValues options =
      name == "dualparal" ? OptionValues{{"block-frames", "3"}, {"context-frames", "2"}} : OptionValues{};
  const int64_t ranks = name == "single" ? 1 : 3;
  const at::Tensor latents = denoise_on_ranks(entry_of(name), options, conditioned, ranks, config);
  if (entry_of(name).exact)
    BOOST_TEST(relative_error(latents, denoise_on_ranks(entry_of("single"), {}, conditioned, 1, config)) < 1e-4);
  // Another condition of the last frame changes the last frame.
  Request other = conditioned;
  other.condition = conditioned.condition.clone();
  other.condition.select(2, kFrames - 1).neg_();
  const at::Tensor changed = denoise_on_ranks(entry_of(name), options, other, ranks, config);
  BOOST_TEST(relative_error(changed.select(2, kFrames - 1), latents.select(2, kFrames - 1)) > 1e-2);
}

BOOST_AUTO_TEST_CASE(a_window_as_long_as_the_video_is_single) {
  const at::Tensor expected = denoise_on_ranks(entry_of("single"), {}, request(), 1, kConfig);
  const at::Tensor actual =
      denoise_on_ranks(independent_windows_strategy(), {{"window-frames", "14"}}, request(), 2, kConfig);
  BOOST_TEST(relative_error(actual, expected) < 1e-6);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
