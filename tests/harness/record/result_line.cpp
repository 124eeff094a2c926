// SPDX-License-Identifier: Apache-2.0
#include "harness/record/result_line.h"

#include <fstream>

#include "base/files.h"
#include "harness/record/results.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;
using Json = nlohmann::ordered_json;

// With a value in as many fields as can have one.
ResultLine full_line() {
  ResultLine line{.kind = ResultKind::kSimulated,
                  .experiment = "e",
                  .strategy = "ring",
                  .options = {{"guidance-parallel", "off"}},
                  .world_size = 2,
                  .model = "m",
                  .device = "cpu",
                  .dtype = "fp32",
                  .frames = 9,
                  .latent_frames = 3,
                  .height = 64,
                  .width = 96,
                  .steps = 2,
                  .seed = uint64_t{1} << 63,
                  .latency_s = 1.5,
                  .samples = {1.5},
                  .per_rank = {{.compute_s = 1.0, .sent_bytes = 7}, {.weights_bytes = 8}},
                  .sent_bytes = 7,
                  .analytic_cost = FormulaLine{.sent_bytes = 7},
                  .quality = {{"flicker", 0.5}, {"drift", nullptr}},
                  .error_vs_single = 1e-6,
                  .source_kind = ResultKind::kTraced,
                  .cluster = ClusterLine{.name = "c", .nodes = 1},
                  .status = ResultStatus::kFailed,
                  .error = "out of memory",
                  .point = "p",
                  .repeat = 1,
                  .video = "v.mp4"};
  return line;
}

std::vector<std::string> names(const Json& json) {
  std::vector<std::string> out;
  for (const auto& [name, value] : json.items()) out.push_back(name);
  return out;
}

BOOST_AUTO_TEST_SUITE(result_line)

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  const Json json = to_json(full_line());
  BOOST_TEST(to_json(result_line_of(json)) == json);
  BOOST_TEST(json["schema"] == 2);
  BOOST_TEST(json["kind"] == "simulated");
  BOOST_TEST(json["status"] == "failed");
  BOOST_TEST(json["seed"].get<uint64_t>() == uint64_t{1} << 63);
  BOOST_TEST(json["per_rank"][1]["weights_bytes"] == 8);
  BOOST_TEST(json["latency_s"] == 1.5);
}

BOOST_AUTO_TEST_CASE(every_field_is_in_every_line_of_every_kind) {
  const auto expected = names(to_json(full_line()));
  BOOST_TEST(expected.size() > 40u);
  for (const ResultKind kind :
       {ResultKind::kMeasured, ResultKind::kEmulated, ResultKind::kTraced, ResultKind::kSimulated}) {
    const Json json = to_json({.kind = kind, .strategy = "single"});
    BOOST_TEST(names(json) == expected, tt::per_element());
    BOOST_TEST(json["kind"] == kind_name(kind));
    BOOST_TEST(json["latency_s"].is_null());
    BOOST_TEST(json["per_rank"].is_null());
  }
}

BOOST_AUTO_TEST_CASE(lines_of_the_first_schema_lack_fields) {
  const ResultLine line = result_line_of(
      {{"schema", 1}, {"kind", "measured"}, {"strategy", "fifo"}, {"status", "ok"}, {"latency_s", 3}, {"other", 1}});
  BOOST_TEST(line.latency_s.value() == 3.0);
  BOOST_TEST(!line.program_hash.has_value());
  BOOST_TEST(line.options.is_object());
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_named) {
  const Json good = to_json({.strategy = "single"});
  const auto changed = [&](const char* name, Json value) {
    Json json = good;
    json[name] = std::move(value);
    return json;
  };
  expect_error({"schema 1 or 2", "got 3"}, [&] { result_line_of(changed("schema", 3)); });
  expect_error({"schema 1 or 2", "no schema"}, [&] { result_line_of(Json::array()); });
  expect_error({"'kind'", "measured, emulated, traced, simulated", "guessed"},
               [&] { result_line_of(changed("kind", "guessed")); });
  expect_error({"'status'", "missing"}, [&] { result_line_of(changed("status", nullptr)); });
  expect_error({"'frames'", "whole number", "9.5"}, [&] { result_line_of(changed("frames", 9.5)); });
  expect_error({"'model'", "text", "7"}, [&] { result_line_of(changed("model", 7)); });
  expect_error({"'per_rank'", "list"}, [&] { result_line_of(changed("per_rank", "none")); });
  expect_error({"'per_rank'", "'flops'", "number"}, [&] {
    result_line_of(changed("per_rank", {{{"flops", "many"}}}));
  });
}

BOOST_AUTO_TEST_CASE(quality_figures_are_numbers_or_nothing) {
  const ResultLine line = full_line();
  BOOST_TEST(quality_figure(line, "flicker").value() == 0.5);
  BOOST_TEST(!quality_figure(line, "drift").has_value());
  BOOST_TEST(!quality_figure(line, "content").has_value());
  BOOST_TEST(!quality_figure({.strategy = "single"}, "flicker").has_value());
}

BOOST_AUTO_TEST_CASE(torn_lines_are_left_out_and_nothing_is_lost) {
  const TempFolder folder;
  const fs::path file = folder / "results.jsonl";
  append_result(file, {.strategy = "single"});
  std::ofstream(file, std::ios::app) << "# a comment\n\n{\"schema\": 2, \"ki\n";
  append_result(file, {.strategy = "ring"});
  std::ofstream(file, std::ios::app) << "{\"schema\": 2, \"kind\": \"meas";
  const auto lines = read_results(file);
  BOOST_REQUIRE(lines.size() == 2u);
  BOOST_TEST(lines[1].strategy == "ring");

  set_unfinished_line_aside(file);
  append_result(file, {.strategy = "usp"});
  BOOST_TEST(read_results(file).size() == 3u);
  BOOST_TEST(read_file(folder / "results.jsonl.unfinished") == "{\"schema\": 2, \"kind\": \"meas\n");
  set_unfinished_line_aside(file);  // there is none
  BOOST_TEST(read_results(file).size() == 3u);

  std::ofstream(file, std::ios::app) << "{\"schema\": 2}\n";
  expect_error({"results.jsonl:7", "'kind' is missing"}, [&] { read_results(file); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
