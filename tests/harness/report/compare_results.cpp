// SPDX-License-Identifier: Apache-2.0
#include "harness/report/compare_results.h"

#include <map>
#include <random>

#include "tests/harness/report/small_run.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

ResultLine line(const std::string& strategy, std::vector<double> samples, const std::string& cpu = "a") {
  ResultLine run = small_run(strategy);
  run.latency_s = samples.at(0);
  run.samples = samples;
  run.peak_memory_bytes = 1000;
  run.sent_bytes = 500;
  run.config = {{"threads", 1}, {"seed", 0}};
  run.provenance = {{"cpu", cpu}};
  return run;
}

std::map<std::string, Verdict> verdicts(const ResultLine& before, const ResultLine& after,
                                        CompareResultsOptions options = {}) {
  std::map<std::string, Verdict> found;
  for (const auto& one : compare_results(options, {before}, {after})) found[one.figure] = one.verdict;
  return found;
}

BOOST_AUTO_TEST_SUITE(report_comparison)

BOOST_AUTO_TEST_CASE(slower_and_wrong_are_told_apart_from_noise) {
  const ResultLine before = line("ring", {1.0, 1.02, 0.98});
  const auto latency = [&](std::vector<double> samples) {
    return verdicts(before, line("ring", samples))["latency_s"];
  };
  BOOST_TEST((latency({1.05, 1.01, 1.02}) == Verdict::kSame));     // within the threshold
  BOOST_TEST((latency({1.5, 1.4, 1.6}) == Verdict::kRegression));  // beyond it, and apart
  BOOST_TEST((latency({1.5, 1.4, 1.0}) == Verdict::kCannotTell));  // beyond it, but not apart
  BOOST_TEST((latency({1.4}) == Verdict::kCannotTell));            // one sample
  BOOST_TEST((latency({1.6}) == Verdict::kRegression));            // obvious
  BOOST_TEST((latency({0.5, 0.6, 0.55}) == Verdict::kBetter));

  ResultLine other = before;
  BOOST_TEST((verdicts(before, other)["sent_bytes"] == Verdict::kSame));
  other.sent_bytes = 501;
  BOOST_TEST((verdicts(before, other)["sent_bytes"] == Verdict::kWrong));
  other = before;
  other.peak_memory_bytes = 1300;
  BOOST_TEST((verdicts(before, other)["peak_memory_bytes"] == Verdict::kRegression));
  other.status = ResultStatus::kFailed, other.error = "wrong result";
  BOOST_TEST((verdicts(before, other)["status"] == Verdict::kWrong));
  BOOST_TEST((verdicts(other, before)["status"] == Verdict::kBetter));
  BOOST_TEST((verdicts(before, line("usp", {1}))["status"] == Verdict::kWrong));  // missing
}

BOOST_AUTO_TEST_CASE(another_picture_is_wrong) {
  const std::map<std::string, double> larger = {
      {"flicker", 1e-3}, {"content", 0.1}, {"ssim", 0.02}, {"latent_relative_error", 0.02}};
  ResultLine before = line("dualparal", {1});
  before.quality = {
      {"flicker", 0.993}, {"content", 0.9}, {"ssim", 0.8}, {"latent_relative_error", 0.3}, {"psnr_db", 20}};
  for (const auto& [name, change] : larger) {
    ResultLine after = before;
    after.quality[name] = before.quality[name].get<double>() - change / 1000;
    BOOST_TEST((verdicts(before, after)[name] == Verdict::kSame), name);
    after.quality[name] = before.quality[name].get<double>() - change;
    BOOST_TEST((verdicts(before, after)[name] == Verdict::kWrong), name);
    after.quality[name] = nullptr;  // not asked for
    BOOST_TEST(!verdicts(before, after).contains(name), name);
  }
}

// As many rows as a hundred experiments have: with so much noise and so few samples, ranges lie apart now and then.
BOOST_DATA_TEST_CASE(noise_alone_is_no_regression, data::make({3, 5}) * data::make({0.02, 0.08, 0.3}), samples, sigma) {
  std::mt19937 random(1);
  std::lognormal_distribution<double> noise(0, sigma);
  const auto run = [&](double slower) {
    std::vector<double> times;
    for (int i = 0; i < samples; ++i) times.push_back(slower * noise(random));
    return line("ring", times);
  };
  int alarms = 0, found = 0;
  for (int i = 0; i < 1000; ++i) {
    alarms += verdicts(run(1), run(1))["latency_s"] == Verdict::kRegression;
    found += verdicts(run(1), run(1.3))["latency_s"] == Verdict::kRegression;
  }
  BOOST_TEST(alarms <= 5);
  if (sigma < 0.05) BOOST_TEST(found > 970);
}

BOOST_AUTO_TEST_CASE(what_is_traced_or_simulated_is_equal) {
  ResultLine before = line("ring", {1.0}), after = before;
  before.kind = after.kind = ResultKind::kSimulated;
  BOOST_TEST((verdicts(before, after)["latency_s"] == Verdict::kSame));
  after.latency_s = 1.001;
  BOOST_TEST((verdicts(before, after)["latency_s"] == Verdict::kWrong));
}

BOOST_AUTO_TEST_CASE(machines_and_recipes_must_be_the_same) {
  const ResultLine before = line("ring", {1.0});
  expect_error({"measured on a and on b", "--ratios"}, [&] { verdicts(before, line("ring", {1.0}, "b")); });
  ResultLine other = before;
  other.config["threads"] = 4;
  expect_error({"'threads' is 1 and 4"}, [&] { verdicts(before, other); });
}

BOOST_AUTO_TEST_CASE(ratios_are_compared_between_machines) {
  const CompareResultsOptions options{.ratios = true};
  const auto ratio = [&](double ring, double single) {
    for (const auto& one :
         compare_results(options, {line("ring", {2, 2, 2}), line("single", {1, 1, 1})},
                         {line("ring", {ring, ring, ring}, "b"), line("single", {single, single, single}, "b")}))
      if (one.figure == "latency / single" && one.row.starts_with("ring")) return one.verdict;
    return Verdict::kCannotTell;
  };
  BOOST_TEST((ratio(20, 10) == Verdict::kSame));
  BOOST_TEST((ratio(25, 10) == Verdict::kSame));
  BOOST_TEST((ratio(40, 10) == Verdict::kRegression));
}

BOOST_AUTO_TEST_CASE(ratios_without_single_are_of_the_first_row) {
  const CompareResultsOptions options{.ratios = true};
  const auto found = compare_results(options, {line("ring", {2, 2, 2}), line("ulysses", {1, 1, 1})},
                                     {line("ring", {2, 2, 2}, "b"), line("ulysses", {9, 9, 9}, "b")});
  const auto slower = std::ranges::find(found, "latency / ring", &ComparedFigure::figure);
  BOOST_REQUIRE((slower != found.end()));
  BOOST_TEST(std::ranges::count(found, Verdict::kRegression, &ComparedFigure::verdict) == 1);
  const auto alone = compare_results(options, {line("ring", {2, 2, 2})}, {line("ring", {20, 20, 20}, "b")});
  const auto latency = std::ranges::find(alone, "latency_s", &ComparedFigure::figure);
  BOOST_REQUIRE((latency != alone.end()));
  BOOST_TEST((latency->verdict == Verdict::kCannotTell));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
