// SPDX-License-Identifier: Apache-2.0
// When the videos of a list began and were final, from made-up events.
#include "harness/trace/video_times.h"

#include <cmath>

#include "harness/record/statistics.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;
using Kind = Event::Kind;

Event at_second(Kind kind, double second) { return {.kind = kind, .begin_s = second, .end_s = second}; }

void set_fields(ResultLine& line, const std::vector<RankTrace>& traces) {
  std::vector<EventSums> sums;
  for (const RankTrace& trace : traces) sums.push_back(trace.summed());
  set_video_fields(line, traces, sums);
}

BOOST_AUTO_TEST_SUITE(video_times)

// The second video begins before the first is final. Two pieces each.
BOOST_AUTO_TEST_CASE(each_video_is_timed_from_its_own_begin) {
  const RankTrace trace{
      .begin_s = 100,
      .events = {at_second(Kind::kVideo, 100), at_second(Kind::kOutput, 104), at_second(Kind::kVideo, 105),
                 at_second(Kind::kOutput, 106), at_second(Kind::kOutput, 110), at_second(Kind::kOutput, 113)}};
  ResultLine line{.latency_s = 16, .videos = 2};
  set_fields(line, {trace});
  BOOST_TEST(*line.videos_per_s == 2.0 / 16);
  BOOST_REQUIRE(line.per_video.size() == 2u);
  BOOST_TEST(*line.per_video[0].begin_s == 0);
  BOOST_TEST(*line.per_video[0].first_block_s == 4);
  BOOST_TEST(*line.per_video[0].latency_s == 6);
  BOOST_TEST(*line.per_video[1].begin_s == 5);
  BOOST_TEST(*line.per_video[1].first_block_s == 5);
  BOOST_TEST(*line.per_video[1].latency_s == 8);
  BOOST_TEST(*line.video_latency_s->p50 == 6);
  BOOST_TEST(*line.video_latency_s->p90 == 8);
  BOOST_TEST(*line.video_first_block_s->p99 == 5);
  BOOST_TEST((to_json(result_line_of(to_json(line))) == to_json(line)));
}

// Three videos: the first and the last are replica 0's, whose first rank is 0; the second is replica 1's, of rank 2.
BOOST_AUTO_TEST_CASE(each_replica_times_its_own_videos) {
  const RankTrace first{.begin_s = 100,
                        .events = {at_second(Kind::kVideo, 100), at_second(Kind::kOutput, 104),
                                   at_second(Kind::kVideo, 105), at_second(Kind::kOutput, 111)}};
  const RankTrace second{.begin_s = 101, .events = {at_second(Kind::kOutput, 108)}};
  ResultLine line{.options = {{"replicas", "2"}}, .latency_s = 11, .videos = 3};
  set_fields(line, {first, {}, second, {}});
  BOOST_TEST(*line.videos_per_s == 3.0 / 11);
  BOOST_REQUIRE(line.per_video.size() == 3u);
  const double begins[] = {0, 0, 5}, latencies[] = {4, 7, 6};
  for (size_t video = 0; video < 3; ++video) {
    BOOST_TEST(*line.per_video[video].begin_s == begins[video]);
    BOOST_TEST(*line.per_video[video].latency_s == latencies[video]);
  }
  BOOST_TEST(*line.video_latency_s->p50 == 6);
  BOOST_TEST(*line.video_latency_s->p99 == 7);
}

BOOST_AUTO_TEST_CASE(a_list_of_one_has_no_begins_in_its_trace) {
  ResultLine line{.latency_s = 3, .videos = 1};
  set_fields(line, {{.begin_s = 1, .events = {at_second(Kind::kOutput, 2), at_second(Kind::kOutput, 3)}}});
  BOOST_TEST(*line.per_video.at(0).latency_s == 2);
}

BOOST_AUTO_TEST_CASE(no_list_no_fields) {
  ResultLine line{.latency_s = 3};
  set_fields(line, {{.events = {at_second(Kind::kOutput, 2)}}});
  BOOST_TEST((!line.videos_per_s && line.per_video.empty()));
}

BOOST_AUTO_TEST_CASE(a_trace_of_other_videos_is_refused) {
  ResultLine line{.latency_s = 3, .videos = 2};
  const RankTrace trace{
      .events = {at_second(Kind::kVideo, 0), at_second(Kind::kVideo, 1), at_second(Kind::kOutput, 2)}};
  expect_error({"2 begins", "1 pieces", "2 videos"}, [&] { set_fields(line, {trace}); });
}

BOOST_AUTO_TEST_CASE(percentiles_are_measured_values) {
  const std::vector<double> ten{10, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  BOOST_TEST(percentile(ten, 0.5) == 5);
  BOOST_TEST(percentile(ten, 0.9) == 9);
  BOOST_TEST(percentile(ten, 0.99) == 10);
  BOOST_TEST(percentile({7}, 0.5) == 7);
  BOOST_TEST(std::isnan(percentile({}, 0.5)));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
