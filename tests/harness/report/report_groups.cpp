// SPDX-License-Identifier: Apache-2.0
#include "harness/report/report_groups.h"

#include <cmath>
#include <fstream>

#include "harness/record/results.h"
#include "harness/record/statistics.h"
#include "harness/report/report_table.h"
#include "harness/report/speedup.h"
#include "tests/harness/report/small_run.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;

ResultLine line(const std::string& strategy, double latency, uint64_t seed = 0) {
  ResultLine run = small_run(strategy, seed);
  run.latency_s = latency;
  run.peak_memory_bytes = int64_t{1} << 20;
  run.quality = {{"drift", latency / 10}};
  return run;
}

BOOST_AUTO_TEST_SUITE(report)

BOOST_AUTO_TEST_CASE(repeats_and_samples_are_one_group) {
  const auto groups =
      group_results({line("dualparal", 2), line("ring", 5), line("dualparal", 4), line("dualparal", 6, 1)});
  BOOST_REQUIRE(groups.size() == 2u);
  const ResultGroup& blocks = groups[1];  // in the order of the table of strategies
  BOOST_TEST(blocks.first.strategy == "dualparal");
  BOOST_TEST(blocks.values(figure(&ResultLine::latency_s)) == (std::vector<double>{2, 4, 6}), tt::per_element());
  BOOST_TEST(blocks.sample_count() == 2u);
  const auto drift = blocks.samples(quality("drift"));  // the mean over a seed's repeats
  BOOST_REQUIRE(drift.size() == 2u);
  BOOST_TEST(drift[0] == 0.3, tt::tolerance(1e-12));
  BOOST_TEST(blocks.values(figure(&ResultLine::decode_s)).empty());
}

BOOST_AUTO_TEST_CASE(what_differs_in_kind_cluster_status_or_options_is_not_mixed) {
  std::vector<ResultLine> lines(6, line("ring", 1));
  lines[1].kind = ResultKind::kSimulated, lines[1].cluster = ClusterLine{.name = "a"};
  lines[2].kind = ResultKind::kSimulated, lines[2].cluster = ClusterLine{.name = "b"};
  lines[3].status = ResultStatus::kFailed, lines[3].error = "out of memory";
  lines[4].options["guidance-parallel"] = "on";
  lines[5].frames.reset();
  const auto groups = group_results(lines);
  BOOST_REQUIRE(groups.size() == 6u);
  std::vector<std::string> kinds, notes, options;
  for (const auto& group : groups) {
    kinds.push_back(group.kind());
    if (!group.note().empty()) notes.push_back(group.note());
    if (!group.options().empty()) options.push_back(group.options());
  }
  BOOST_TEST(std::ranges::count(kinds, "simulated on a") == 1);
  BOOST_TEST(std::ranges::count(kinds, "measured") == 4);
  BOOST_TEST(notes == std::vector<std::string>{"failed: out of memory"}, tt::per_element());
  BOOST_TEST(options == std::vector<std::string>{"guidance-parallel=on"}, tt::per_element());
}

BOOST_AUTO_TEST_CASE(a_point_that_was_run_again_counts_with_its_last_line) {
  const TempFolder folder;
  auto first = line("ring", 1), other = line("single", 2), again = line("ring", 3);
  first.point = again.point = "a";
  other.point = "b";
  for (const auto& one : {first, other, again}) append_result(folder / "results.jsonl", one);
  const auto lines = read_report_lines({folder.path()});
  BOOST_REQUIRE(lines.size() == 2u);
  BOOST_TEST(lines[0].latency_s.value() == 3);
  std::ofstream(folder / "empty.jsonl");
  expect_error({"empty.jsonl", "no result lines"}, [&] { read_report_lines({folder / "empty.jsonl"}); });
}

BOOST_AUTO_TEST_CASE(ratios_are_those_of_medians) {
  const auto groups =
      group_results({line("dualparal", 1), line("dualparal", 2), line("dualparal", 9), line("ring", 8)});
  const Table table = speedup_table(groups, "dualparal");
  const auto column = std::ranges::find(table[0], "latency / base") - table[0].begin();
  BOOST_TEST(table[1][0] == "ring");
  BOOST_TEST(table[1][column] == "4.00");
  BOOST_TEST(table[2][column] == "1.00");
  BOOST_TEST(table[1].back() == "fastest other strategy");
  expect_error({"--baseline fifo", "dualparal, ring"}, [&] { speedup_table(groups, "fifo"); });
}

// Shares move both latencies: the ratio is taken at the same end of the same share.
BOOST_AUTO_TEST_CASE(ratios_have_bands_where_shares_were_swept) {
  ResultLine blocks = line("dualparal", 10), ring = line("ring", 50);
  for (ResultLine* one : {&blocks, &ring}) one->kind = ResultKind::kSimulated, one->cluster = ClusterLine{.name = "c"};
  ring.sweep = {{"matmul low", 60}, {"matmul high", 45}};
  const auto ratio = [&] {
    const Table table = speedup_table(group_results({blocks, ring}), "dualparal");
    return table[1][std::ranges::find(table[0], "latency / base") - table[0].begin()];
  };
  BOOST_TEST(ratio() == "5.00");
  blocks.sweep = {{"matmul low", 15}, {"matmul high", 8}};
  BOOST_TEST(ratio() == "5.00 (4.00-5.62)");
}

BOOST_AUTO_TEST_CASE(intervals_are_those_of_student) {
  const MeanInterval interval = mean_interval({1, 2, 3});
  BOOST_TEST(interval.mean == 2);
  BOOST_TEST(interval.half_width == 4.302652729911275 / std::sqrt(3.0), tt::tolerance(1e-9));
  BOOST_TEST(std::isnan(mean_interval({1}).half_width));
  BOOST_TEST(median({3, 1, 2, 10}) == 2.5);
  BOOST_TEST(std::isnan(median({})));
}

BOOST_AUTO_TEST_CASE(idle_columns_are_left_out) {
  const Table table{{"a", "b", "c"}, {"1", "", "x"}, {"2", "", "x"}};
  const Table rest = without_idle_columns(table, {"c"});
  BOOST_TEST(rest[0] == std::vector<std::string>{"a"}, tt::per_element());
  BOOST_TEST(latex_table({{"a_b"}, {"50 %"}}, 1, "t").find("50 \\%") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
