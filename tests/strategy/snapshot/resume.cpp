// SPDX-License-Identifier: Apache-2.0
// Every strategy of the table that keeps snapshots goes on from each of them to the same latents, bit by bit.
#include "harness/options/strategies.h"
#include "tests/strategy/snapshot/memory_snapshots.h"

namespace dualparal::testing {
namespace {

constexpr int64_t kFrames = 14, kSteps = 3;
const TransformerConfig kConfig = with_layers(5);
const OptionValues kBlocks{{"block-frames", "3"}, {"context-frames", "2"}};

struct Case {
  std::string strategy;
  OptionValues options = {};
  std::vector<int64_t> ranks = {1, 3};
  std::string sampler = "unipc";
  bool on_other_ranks = true;
};

std::ostream& operator<<(std::ostream& out, const Case& one) {
  out << one.strategy << " " << one.sampler;
  for (const auto& [name, value] : one.options) out << " --" << name << " " << value;
  return out;
}

OptionValues with(OptionValues more) {
  more.insert(kBlocks.begin(), kBlocks.end());
  return more;
}

// A row for every strategy of the table, but for those whose reason not to keep snapshots is tested below; and more.
std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& entry : strategies()) {
    if (entry.name == "pipefusion") continue;
    Case one{entry.name};
    if (entry.name == "single") one.ranks = {1};
    if (entry.name == "dualparal") one.options = kBlocks;
    if (entry.name == "context_windows") one.options = {{"window-frames", "5"}, {"overlap-frames", "2"}};
    if (entry.name == "fifo") one.options = {{"window-frames", "2"}};
    if (entry.name == "video_infinity") one.on_other_ranks = false;
    all.push_back(one);
  }
  all.push_back({"single", {}, {1}, "euler"});
  all.push_back({"dualparal", with({{"guidance-micro-batches", "2"}}), {2}, "euler"});
  all.push_back({"dualparal", with({{"previous-context", "matched"}, {"noise-sharing", "off"}}), {2}});
  all.push_back({"dualparal", with({{"previous-context", "matched_kv"}})});
  all.push_back({"dualparal", with({{"previous-context", "matched_kv"}, {"guidance-micro-batches", "2"}}), {2}});
  all.push_back({"dualparal", with({{"feature-cache", "off"}}), {2}});
  all.push_back({"dualparal", with({{"partition", "balanced"}}), {3}});
  all.push_back({"dualparal", with({{"sequence-degree", "2"}, {"guidance-parallel", "on"}}), {4}, "unipc", false});
  all.push_back({"naive_pipeline", {{"sequence-degree", "2"}}, {4}, "unipc", false});
  all.push_back({"ring", {{"guidance-parallel", "on"}}, {4}, "unipc", false});
  all.push_back({"fifo", {{"window-frames", "1"}, {"lookahead", "off"}}, {2}});
  return all;
}

StrategyEntry entry_of(const std::string& name) { return find_strategy(name); }

Request request_of(const Case& one) {
  Request request = ranks_request(kFrames, kSteps);
  request.sampler = parse_sampler(one.sampler);
  return request;
}

// What a run gives that goes on from a kept state, with what was finished before.
at::Tensor gone_on(const Case& one, const SavedRun& saved, const at::Tensor& finished, int64_t ranks) {
  KeptRun rest;
  rest.resumed = &saved;
  BOOST_TEST(!rest.run(entry_of(one.strategy), one.options, request_of(one), ranks, kConfig));
  return finished.size(2) > 0 ? at::cat({finished, rest.latents}, 2) : rest.latents;
}

BOOST_AUTO_TEST_SUITE(resume)

BOOST_DATA_TEST_CASE(goes_on_from_every_iteration_bit_by_bit, data::make(cases()), one) {
  for (const int64_t ranks : one.ranks) {
    const at::Tensor whole = denoise_on_ranks(entry_of(one.strategy), one.options, request_of(one), ranks, kConfig);
    KeptRun kept;
    BOOST_TEST(!kept.run(entry_of(one.strategy), one.options, request_of(one), ranks, kConfig));
    BOOST_TEST(identical(kept.latents, whole));  // keeping changes nothing
    BOOST_TEST(static_cast<int64_t>(kept.saved.size()) >= kSteps - 1);
    for (const auto& [done, saved] : kept.saved) {
      const at::Tensor finished = whole.slice(2, 0, kept.frames.at(done));
      BOOST_TEST(identical(gone_on(one, saved, finished, ranks), whole), "after " << done << " on " << ranks);
      if (!one.on_other_ranks || ranks == 1) continue;
      const at::Tensor on_two = gone_on(one, saved, finished, one.strategy == "single" ? 1 : 2);
      BOOST_TEST(relative_error(on_two, whole) < 1e-5, "after " << done << " on 2 instead of " << ranks);
    }
  }
}

// All ranks stop after the same iteration, and leave no message behind.
BOOST_DATA_TEST_CASE(stops_after_an_iteration_and_goes_on, data::make(cases()), one) {
  const int64_t ranks = one.ranks.back();
  const at::Tensor whole = denoise_on_ranks(entry_of(one.strategy), one.options, request_of(one), ranks, kConfig);
  for (const int64_t done : {1, 2}) {
    KeptRun stopped;
    stopped.stop_after = done;
    BOOST_TEST(stopped.run(entry_of(one.strategy), one.options, request_of(one), ranks, kConfig, /*delays=*/7));
    const at::Tensor finished = whole.slice(2, 0, stopped.frames.at(done));
    BOOST_TEST(identical(gone_on(one, stopped.saved.at(done), finished, ranks), whole), "after " << done);
  }
}

BOOST_AUTO_TEST_CASE(a_queue_stops_in_its_middle_and_near_its_end) {
  const Case one{"dualparal", with({{"previous-context", "matched_kv"}})};
  const at::Tensor whole = denoise_on_ranks(entry_of(one.strategy), one.options, request_of(one), 3, kConfig);
  for (const int64_t done : {4, 5}) {
    KeptRun stopped;
    stopped.stop_after = done;
    BOOST_TEST(stopped.run(entry_of(one.strategy), one.options, request_of(one), 3, kConfig));
    const at::Tensor finished = whole.slice(2, 0, stopped.frames.at(done));
    BOOST_TEST(finished.size(2) > 0);
    BOOST_TEST(identical(gone_on(one, stopped.saved.at(done), finished, 3), whole), "after " << done);
  }
}

// What comes of an iteration comes ten later: two for each stage.
BOOST_AUTO_TEST_CASE(a_queue_of_one_step_in_a_long_pipeline) {
  Case one{"dualparal", with({{"previous-context", "matched"}})};
  Request request = request_of(one);
  request.num_inference_steps = 1;
  const at::Tensor whole = denoise_on_ranks(entry_of(one.strategy), one.options, request, 5, kConfig);
  KeptRun kept;
  BOOST_TEST(!kept.run(entry_of(one.strategy), one.options, request, 5, kConfig));
  BOOST_TEST(kept.saved.size() >= 3u);
  for (const auto& [done, saved] : kept.saved) {
    KeptRun rest;
    rest.resumed = &saved;
    BOOST_TEST(!rest.run(entry_of(one.strategy), one.options, request, 5, kConfig));
    const at::Tensor finished = whole.slice(2, 0, kept.frames.at(done));
    BOOST_TEST(identical(finished.size(2) > 0 ? at::cat({finished, rest.latents}, 2) : rest.latents, whole),
               "after " << done);
  }
}

void refused(const std::string& name, const OptionValues& options, int64_t ranks, std::optional<int64_t> kept_ranks,
             const std::vector<std::string>& words) {
  const auto entry = entry_of(name);
  const auto strategy = entry.make(resolve_options(name, entry.options, options));
  const Workload work = workload(ranks_request(kFrames, kSteps), kConfig, 4, ranks);
  expect_error<UsageError>(words, [&] { strategy->check_snapshots(work, kept_ranks); });
}

BOOST_AUTO_TEST_CASE(what_cannot_be_kept_says_why) {
  refused("pipefusion", {}, 2, {}, {"pipefusion", "step before"});
  refused("video_infinity", {}, 2, 3, {"video_infinity", "3 ranks"});
}

// Kept keys and values are put together anew for whoever attends: other halves, heads and layers than those who kept.
BOOST_AUTO_TEST_CASE(kept_keys_go_to_other_arrangements) {
  const auto keys = [](OptionValues more) {
    more["previous-context"] = "matched_kv";
    return with(std::move(more));
  };
  const std::vector<std::pair<OptionValues, int64_t>> arrangements = {
      {keys({}), 3},
      {keys({{"partition", "1:self:0.5,3:cross"}}), 3},
      {keys({{"sequence-degree", "2"}, {"guidance-parallel", "on"}, {"partition", "balanced"}}), 8},
      {keys({{"sequence-degree", "3"}}), 3},
      {keys({{"guidance-parallel", "on"}}), 2},
      {keys({{"sequence-degree", "3"}, {"cache-memory", "host"}}), 6}};
  const Request request = request_of({"dualparal"});
  const at::Tensor whole = denoise_on_ranks(entry_of("dualparal"), keys({}), request, 1, kConfig);
  const auto splits_heads = [](const OptionValues& options) { return options.contains("sequence-degree"); };
  for (const auto& [options, ranks] : arrangements) {
    KeptRun kept;
    BOOST_TEST(!kept.run(entry_of("dualparal"), options, request, ranks, kConfig));
    for (const auto& [others, other_ranks] : arrangements)
      for (const auto& [done, saved] : kept.saved) {
        if (splits_heads(options) != splits_heads(others)) continue;
        const at::Tensor finished = kept.latents.slice(2, 0, kept.frames.at(done));
        const at::Tensor latents = gone_on({"dualparal", others}, saved, finished, other_ranks);
        BOOST_TEST(relative_error(latents, whole) < 1e-5, "after " << done << ", " << ranks << " to " << other_ranks);
        if (others == options) BOOST_TEST(identical(latents, kept.latents), "after " << done << " on " << ranks);
      }
  }
}

BOOST_AUTO_TEST_CASE(keys_that_are_normalised_elsewhere_are_refused) {
  OptionValues alone = with({{"previous-context", "matched_kv"}}), split = alone;
  split["sequence-degree"] = "2";
  for (const auto& [before, after] : {std::pair(alone, split), std::pair(split, alone)}) {
    KeptRun kept, rest;
    BOOST_TEST(!kept.run(entry_of("dualparal"), before, request_of({"dualparal"}), 2, kConfig));
    rest.resumed = &kept.saved.at(2);
    expect_error({"snapshot", before == alone ? "without --sequence-degree" : "with --sequence-degree"},
                 [&] { rest.run(entry_of("dualparal"), after, request_of({"dualparal"}), 2, kConfig); });
  }
}

BOOST_AUTO_TEST_CASE(keys_that_nobody_kept_are_missed) {
  KeptRun kept;
  const OptionValues options = with({{"previous-context", "matched_kv"}, {"guidance-parallel", "on"}});
  BOOST_TEST(!kept.run(entry_of("dualparal"), options, request_of({"dualparal"}), 2, kConfig));
  SavedRun saved = kept.saved.at(2);
  saved.ranks.pop_back();  // the unconditional half
  KeptRun rest;
  rest.resumed = &saved;
  const OptionValues alone = with({{"previous-context", "matched_kv"}});
  expect_error({"keys and values", "layer"},
               [&] { rest.run(entry_of("dualparal"), alone, request_of({"dualparal"}), 1, kConfig); });
}

BOOST_AUTO_TEST_CASE(frames_come_from_whoever_has_them) {
  const at::Tensor latents = randn({1, 2, 6, 1, 1}, 3);
  const SavedRun saved{
      .done = 1,
      .ranks = {latents_state(0, latents.slice(2, 0, 4), nullptr), latents_state(3, latents.slice(2, 3, 6), nullptr)}};
  BOOST_TEST(identical(saved.frames({0, 6}, 0).tensor("latents"), latents));
  BOOST_TEST(identical(saved.frames({2, 5}, 1).tensor("latents"), latents.slice(2, 2, 5)));
  BOOST_TEST(identical(saved.frames({3, 6}, 1).tensor("latents"), latents.slice(2, 3, 6)));
  expect_error({"frame 6", "0..6"}, [&] { saved.frames({0, 7}, 0); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
