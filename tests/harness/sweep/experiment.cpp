// SPDX-License-Identifier: Apache-2.0
#include "harness/sweep/experiment.h"

#include <fstream>
#include <set>

#include "harness/sweep/bench_point.h"
#include "harness/sweep/bench_reference.h"
#include "harness/sweep/shard.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;

struct Written {
  TempFolder folder;
  Experiment read(const std::string& text) const {
    std::ofstream(folder / "e.yaml") << text;
    return read_experiment(folder / "e.yaml");
  }
};

BOOST_FIXTURE_TEST_SUITE(sweep, Written)

BOOST_AUTO_TEST_CASE(a_report_has_the_baselines_that_are_named) {
  const std::string start = "name: x\nstrategies: [single]\n";
  BOOST_TEST(read(start).baselines.strategy.empty());
  const Baselines all =
      read(start + "report: {baseline: ring, baseline_variant: dualparal, baseline_frames: 81}\n").baselines;
  BOOST_TEST(all.strategy == "ring");
  BOOST_TEST(all.variants_of == std::vector<std::string>{"dualparal"});
  BOOST_TEST(read(start + "report: {baseline_variant: [fifo, ring]}\n").baselines.variants_of.size() == 2u);
  BOOST_TEST(*all.frames == 81);
  expect_error({"e.yaml:3", "unknown key 'base'"}, [&] { read(start + "report: {base: ring}\n"); });
  expect_error({"e.yaml:3", "'rign' is not known", "ring"}, [&] { read(start + "report: {baseline: rign}\n"); });
  expect_error({"e.yaml:3", "at least 1"}, [&] { read(start + "report: {baseline_frames: 0}\n"); });
  expect_error({"e.yaml:3", "map of baselines"}, [&] { read(start + "report: dualparal\n"); });
}

BOOST_AUTO_TEST_CASE(lists_are_crossed_with_each_other_and_with_the_strategies) {
  const Experiment e = read(
      "name: x\nrepeat: 2\nbase: {steps: 3, threads: 1}\nsweep: {frames: [5, 9]}\n"
      "strategies: [single, {name: ring, options: {nproc: 2}, sweep: {dtype: [fp32, bf16]}}]\n"
      "skip: [{when: {strategy: ring, frames: [9]}, reason: too long}]\n");
  BOOST_TEST(e.points.size() == 2u * (2 + 4));
  std::set<std::string> keys;
  int64_t skipped = 0;
  for (const Point& point : e.points) {
    keys.insert(point.key());
    BOOST_TEST(point.flags.at("steps") == "3");
    if (!point.skip_reason.empty()) {
      ++skipped;
      BOOST_TEST(point.flags.at("strategy") == "ring");
      BOOST_TEST(point.flags.at("frames") == "9");
    }
  }
  BOOST_TEST(keys.size() == e.points.size());
  BOOST_TEST(skipped == 4);
  const std::set<std::string> varied{"dtype", "frames", "nproc"};
  BOOST_TEST(varied_flags(e) == varied, tt::per_element());
  BOOST_TEST(point_file("videos", e.points[0], varied, ".mp4").string() == "videos/single_frames-5.mp4");
}

BOOST_AUTO_TEST_CASE(shards_together_have_every_point_once_and_simulations_stay_with_their_run) {
  const Experiment whole = read(
      "name: x\nrepeat: 2\nmode: trace\nmodel: configs/models/wan2.1-t2v-1.3b\nbase: {world-size: 1}\n"
      "clusters: [8x-rtx4090, 8x-h100]\nsweep: {frames: [5, 9, 13]}\nstrategies: [single]\n");
  BOOST_REQUIRE(whole.points.size() == 2u * 3 * 3);
  std::multiset<std::string> keys, all;
  for (const Point& point : whole.points) all.insert(point.key());
  for (int64_t number = 1; number <= 4; ++number) {
    Experiment part = whole;
    keep_shard(part, {number, 4});
    std::map<std::pair<Flags, int64_t>, int> of_run;
    for (const Point& point : part.points) keys.insert(point.key()), ++of_run[{point.flags, point.repeat}];
    BOOST_TEST(of_run.size() == (number <= 2 ? 2u : 1u));  // six runs on four machines
    for (const auto& [run, points] : of_run) BOOST_TEST(points == 3);
  }
  BOOST_TEST(keys == all, tt::per_element());
  Experiment part = whole;
  expect_error({"--shard 1/7", "only 6 runs"}, [&] { keep_shard(part, {1, 7}); });
  BOOST_TEST(parse_shard("2/4").number == 2);
  BOOST_TEST(parse_shard("2/4").count == 4);
  for (const char* wrong : {"", "2", "/4", "0/4", "5/4", "2/4x", "-1/4", "2/99999999999999999999", "1/100000"})
    expect_error({"expected I/N"}, [&] { parse_shard(wrong); });
}

BOOST_AUTO_TEST_CASE(ablations_have_enough_pairs) {
  const auto folder = std::filesystem::path("configs/experiments");
  for (const auto& [name, variants] :
       std::map<std::string, size_t>{{"cache_noise", 4}, {"context", 4}, {"block", 3}, {"previous_context", 3}}) {
    const Experiment e = read_experiment(folder / ("ablation_" + name + ".yaml"));
    std::set<std::string> samples;
    for (const Point& point : e.points) samples.insert(point.flags.at("prompt") + "|" + point.flags.at("seed"));
    BOOST_TEST(samples.size() >= 8u * 4, name);
    BOOST_TEST(e.points.size() == samples.size() * variants, name);
  }
}

BOOST_AUTO_TEST_CASE(exact_strategies_are_held_to_single_unless_told_otherwise) {
  const std::string text = "name: x\nsweep: {frames: [5, 9]}\nstrategies: [single, ring, dualparal, fifo]\n";
  const auto checked = [&](const std::string& more) {
    std::multiset<std::string> names;
    for (const Point& point : read(text + more).points)
      if (point.checked) names.insert(point.flags.at("strategy"));
    return names;
  };
  const std::multiset<std::string> both{"ring", "ring"}, one{"ring"}, none;
  BOOST_TEST(checked("") == both, tt::per_element());
  BOOST_TEST(checked("error_vs_single: {frames: 5}\n") == one, tt::per_element());
  BOOST_TEST(checked("error_vs_single: false\n") == none, tt::per_element());
  BOOST_TEST(checked("mode: trace\n") == none, tt::per_element());
  for (const Point& point : read(text).points)
    BOOST_TEST(point.gives_reference == (point.flags.at("strategy") == "single"));
  for (const Point& point : read("name: x\nstrategies: [single, dualparal]\n").points)
    BOOST_TEST(!point.gives_reference);
  BOOST_TEST(largest_error("fp32") < largest_error("fp16"));
  BOOST_TEST(largest_error("fp16") < largest_error("bf16"));
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_named_with_its_line) {
  expect_error({"e.yaml", "'name' is missing"}, [&] { read("strategies: [single]\n"); });
  expect_error({"e.yaml:3", "'colour'"}, [&] { read("name: x\nstrategies: [single]\ncolour: red\n"); });
  expect_error({"quantum", "single"}, [&] { read("name: x\nstrategies: [quantum]\n"); });
  expect_error({"e.yaml:2", "frmes"}, [&] { read("name: x\nbase: {frmes: 5}\nstrategies: [single]\n"); });
  expect_error({"e.yaml:2", "at least 1"}, [&] { read("name: x\nrepeat: 0\nstrategies: [single]\n"); });
  expect_error({"clusters", "trace"}, [&] { read("name: x\nclusters: [8x-h100]\nstrategies: [single]\n"); });
}

BOOST_AUTO_TEST_CASE(a_point_that_did_not_run_says_what_is_known) {
  const Experiment e = read("name: x\nbase: {frames: 6, seed: 7}\nstrategies: [dualparal]\n");
  const ResultLine line = unfinished_line(e.points[0], ResultStatus::kFailed, "out of memory");
  BOOST_TEST(line.strategy == "dualparal");
  BOOST_TEST(line.frames.value() == 6);
  BOOST_TEST(line.latent_frames.value() == 3);
  BOOST_TEST(line.seed.value() == 7u);
  BOOST_TEST(line.error.value() == "out of memory");
  BOOST_TEST(line.config["frames"] == "6");

  Point simulated = e.points[0];
  simulated.cluster = "configs/clusters/8x-h100.yaml";
  simulated.flags["model"] = "no such model";
  simulated.flags.erase("frames");
  const ResultLine unknown = unfinished_line(simulated, ResultStatus::kSkipped, "");
  BOOST_TEST((unknown.kind == ResultKind::kSimulated));
  BOOST_TEST(unknown.cluster.value().name == "8x-h100");
  BOOST_TEST(!unknown.frames.has_value());
  BOOST_TEST(!unknown.latent_frames.has_value());
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
