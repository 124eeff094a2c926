// SPDX-License-Identifier: Apache-2.0
#include "harness/report/paired_tables.h"

#include <cmath>

#include "tests/harness/report/small_run.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;

using Samples = std::map<std::string, double>;

/// `count` pairs whose differences alternate around `mean`, over bases that differ far more.
std::pair<Samples, Samples> pairs(int count, double mean, double spread) {
  Samples variant, base;
  for (int i = 0; i < count; ++i) {
    const std::string sample = std::to_string(i);
    base[sample] = 10.0 * i;
    variant[sample] = 10.0 * i + mean + (i % 2 ? spread : -spread);
  }
  return {variant, base};
}

PairVerdict verdict(int count, double mean, double spread, Better better = Better::kHigher) {
  const auto [variant, base] = pairs(count, mean, spread);
  return paired_difference(variant, base, better, 10).verdict;
}

ResultLine line(const std::string& cache, uint64_t seed, const std::string& prompt, double content, double seam) {
  ResultLine made = small_run("dualparal", seed);
  made.quality = {{"content", content}, {"seam_ratio", seam}, {"psnr_db", nullptr}};
  made.config = {{"prompt", prompt}};
  if (!cache.empty()) made.options["feature-cache"] = cache;
  return made;
}

/// 3 prompts and 4 seeds of both; the variant has 0.1 less content, whatever the prompt's own.
std::vector<ResultLine> ablation() {
  std::vector<ResultLine> lines;
  for (const std::string prompt : {"a", "b", "c"}) {
    for (uint64_t seed = 0; seed < 4; ++seed) {
      const double own = 0.3 + 0.2 * (prompt[0] - 'a') + 0.01 * static_cast<double>(seed);
      const double jitter = 0.01 * static_cast<double>(seed % 2);
      lines.push_back(line("", seed, prompt, own, 0.8));
      lines.push_back(line("off", seed, prompt, own - 0.1 + jitter, 1.1));
    }
  }
  return lines;
}

std::string cell(const Table& table, const std::string& figure, const std::string& column) {
  const auto place = std::ranges::find(table[0], column) - table[0].begin();
  BOOST_REQUIRE(static_cast<size_t>(place) < table[0].size());
  for (const auto& row : table)
    if (row[1] == figure) return row[static_cast<size_t>(place)];
  return "no row";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(paired_tables)

BOOST_AUTO_TEST_CASE(the_interval_is_that_of_the_differences) {
  const PairedDifference found = paired_difference({{"a", 12}, {"b", 23}, {"c", 34}, {"other", 9}},
                                                   {{"a", 11}, {"b", 21}, {"c", 31}, {"more", 5}}, Better::kLower, 3);
  BOOST_TEST(found.pairs == 3u);
  BOOST_TEST(found.base_mean == 21.0, tt::tolerance(1e-12));
  BOOST_TEST(found.difference == 2.0, tt::tolerance(1e-12));
  BOOST_TEST(found.half_width == 4.302652729911275 / std::sqrt(3.0), tt::tolerance(1e-9));
  BOOST_TEST((found.verdict == PairVerdict::kNoDifference));  // 2 ± 2.48
  BOOST_TEST(paired_difference({{"a", 1}}, {{"b", 1}}, Better::kLower, 2).pairs == 0u);
}

BOOST_AUTO_TEST_CASE(verdicts) {
  BOOST_TEST((verdict(12, 1, 0.5) == PairVerdict::kBetter));
  BOOST_TEST((verdict(12, -1, 0.5) == PairVerdict::kWorse));
  BOOST_TEST((verdict(12, 1, 0.5, Better::kLower) == PairVerdict::kWorse));
  BOOST_TEST((verdict(12, -1, 0.5, Better::kLower) == PairVerdict::kBetter));
  BOOST_TEST((verdict(12, 1, 0.5, Better::kNeither) == PairVerdict::kMore));
  BOOST_TEST((verdict(12, -1, 0.5, Better::kNeither) == PairVerdict::kLess));
  BOOST_TEST((verdict(12, 1, 5) == PairVerdict::kNoDifference));
  BOOST_TEST((verdict(12, 0, 0) == PairVerdict::kNoDifference));
  BOOST_TEST((verdict(9, 1, 0.5) == PairVerdict::kCannotTell));  // however clear
  BOOST_TEST((verdict(10, 1, 0.5) == PairVerdict::kBetter));
  BOOST_TEST(verdict_text({.pairs = 6}, 10) == "cannot tell (6 of 10 pairs)");
}

BOOST_AUTO_TEST_CASE(ratios_are_judged_by_their_distance_from_one) {
  Samples variant, base;
  for (int i = 0; i < 12; ++i) {
    const std::string sample = std::to_string(i);
    base[sample] = i % 2 ? 1.3 : 0.7;     // 0.3 from 1
    variant[sample] = i % 2 ? 0.9 : 1.1;  // 0.1 from 1
  }
  const PairedDifference found = paired_difference(variant, base, Better::kNearOne, 10);
  BOOST_TEST((found.verdict == PairVerdict::kBetter));
  BOOST_TEST(found.difference == -0.2, tt::tolerance(1e-9));
}

BOOST_AUTO_TEST_CASE(pairs_show_what_means_do_not) {
  const auto groups = group_results(ablation());
  const Table table = variant_pairs(groups, "dualparal", 10).rows;
  BOOST_TEST(table.size() == 3u);  // content, seam ratio; nobody has a PSNR
  BOOST_TEST(table[1][0] == "feature-cache=off");
  BOOST_TEST(cell(table, "content", "verdict") == "worse");
  BOOST_TEST(cell(table, "content", "pairs") == "12");
  BOOST_TEST(cell(table, "content", "difference").starts_with("-0.095 ± 0.003"));
  BOOST_TEST(cell(table, "seam ratio from 1", "verdict") == "better");
  BOOST_TEST(cell(variant_pairs(groups, "dualparal", 13).rows, "content", "verdict") == "cannot tell (12 of 13 pairs)");
}

BOOST_AUTO_TEST_CASE(only_what_differs_in_options_alone_is_compared) {
  auto lines = ablation();
  for (ResultLine& one : lines)
    if (!one.options.empty()) one.frames = 161;
  expect_error({"--baseline-variant dualparal", "same prompt and seed"},
               [&] { variant_pairs(group_results(lines), "dualparal", 10); });
  lines = ablation();
  for (ResultLine& one : lines)
    if (!one.options.empty()) one.config["prompt"] = "another";
  expect_error({"same prompt and seed"}, [&] { variant_pairs(group_results(lines), "dualparal", 10); });
  std::erase_if(lines, [](const ResultLine& one) { return one.options.empty(); });
  expect_error({"no result of it with its default options", "dualparal"},
               [&] { variant_pairs(group_results(lines), "dualparal", 10); });
  expect_error({"--min-pairs", "got 1"}, [&] { variant_pairs(group_results(ablation()), "dualparal", 1); });
}

// 12 samples of single on one rank, and of a variant of it, beside dualparal's on two; two of fifo.
BOOST_AUTO_TEST_CASE(strategies_are_compared_whatever_their_ranks) {
  auto lines = ablation();
  for (ResultLine& one : lines) {
    if (!one.options.empty()) {
      one.strategy = "single";
      one.world_size = 1;
      one.options = {};
    }
  }
  ResultLine alone = line("", 0, "a", 1, 1);
  alone.strategy = "fifo";
  lines.push_back(alone);
  const PairedTable table = strategy_pairs(group_results(lines), "dualparal", 10);
  BOOST_REQUIRE(table.rows.size() == 3u);  // nothing of fifo
  BOOST_TEST(table.rows[1][0] == "single");
  BOOST_TEST(cell(table.rows, "content", "verdict") == "worse");
  BOOST_TEST(cell(table.rows, "content", "dualparal") == "0.515");
  BOOST_TEST(markdown_section(table).find("## Quality against that of dualparal") != std::string::npos);
  BOOST_TEST(markdown_section(table).find("Of the 2 rows with a verdict") != std::string::npos);
  BOOST_TEST(strategy_pairs(group_results(lines), "dualparal", 13).rows.size() == 1u);
}

BOOST_AUTO_TEST_CASE(lengths_are_compared_within_a_strategy) {
  auto lines = ablation();
  for (ResultLine& one : lines) {
    if (!one.options.empty()) one.frames = 1025;
    one.options = {};
  }
  const int64_t shorter = *lines[0].frames;
  const PairedTable table = length_pairs(group_results(lines), shorter, 10);
  BOOST_TEST(table.title == fmt::format("Quality at other lengths than {} frames", shorter));
  BOOST_TEST(cell(table.rows, "content", "verdict") == "worse");
  BOOST_TEST(cell(table.rows, "content", "difference").starts_with("-0.095 ± 0.003"));
  lines[1].options["feature-cache"] = "off";  // of another variant: no pair
  BOOST_TEST(cell(length_pairs(group_results(lines), shorter, 10).rows, "content", "pairs") == "11");
  expect_error({"--baseline-frames 7", "no strategy"}, [&] { length_pairs(group_results(lines), 7, 10); });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal::testing
