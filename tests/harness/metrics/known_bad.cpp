// SPDX-License-Identifier: Apache-2.0
// Videos that are bad in one known way must be told from a good one by the metric that is meant for it, however well
// they do by others.
#include <numeric>
#include <random>

#include "harness/metrics/quality.h"
#include "tests/harness/metrics/shapes.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;

constexpr int64_t kFrames = 161;
const std::vector<int64_t> kBlocks = {0, 8, 16, 24, 32};  // latent frames
const std::string kPrompt = "a red circle bounces over a dark blue background";

/// From wall to wall and back, as a ball does.
double bounced(double place, double low, double high) {
  const double span = high - low, turn = std::fmod(place - low, 2 * span);
  return low + (turn < span ? turn : 2 * span - turn);
}

struct Ball {
  double row = 20, column = 30, down = 0.9, right = 1.7;  // pixels, pixels a frame
  at::Tensor at(double frame, Shape shape = kCircle) const {
    return picture(shape, kRed, kDarkBlue, bounced(row + down * frame, 13, 51),
                   bounced(column + right * frame, 13, 83));
  }
};

/// A ball that bounces, with a little noise.
std::vector<at::Tensor> good_video(int64_t frames = kFrames) {
  std::vector<at::Tensor> video;
  for (int64_t i = 0; i < frames; ++i) video.push_back(Ball().at(static_cast<double>(i)));
  return video;
}

at::Tensor noised(const at::Tensor& video, double sigma, uint64_t seed) {
  return (video.to(at::kFloat) + sigma * randn(video.sizes(), seed)).round().clamp(0, 255).to(at::kByte);
}

nlohmann::json score(const at::Tensor& video, int64_t piece = 8) {
  const int64_t frames = video.size(0);
  QualityMeter meter({.frames = frames,
                      .latent_frames = (frames + 2) / 4 + 1,
                      .block_starts = frames == kFrames ? kBlocks : std::vector<int64_t>{},
                      .prompt = kPrompt,
                      .content = true});
  for (int64_t i = 0; i < frames; i += piece) meter.push_frames(video.narrow(0, i, std::min(piece, frames - i)));
  return meter.result();
}

nlohmann::json score(const std::vector<at::Tensor>& video) { return score(noised(at::stack(video), 1.0, 1)); }

double figure(const nlohmann::json& result, const char* name) {
  BOOST_REQUIRE_MESSAGE(result.at(name).is_number(), name << " is " << result.at(name).dump());
  return result.at(name).get<double>();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(known_bad)

BOOST_AUTO_TEST_CASE(a_good_video_scores_well) {
  const auto good = score(good_video());
  BOOST_TEST_MESSAGE(good.dump());
  BOOST_TEST(figure(good, "dynamic_degree_px") == std::hypot(0.9, 1.7), tt::tolerance(0.15));
  BOOST_TEST(figure(good, "still_frames") == 0.0);
  BOOST_TEST(figure(good, "largest_motion_px") < 4.0);
  BOOST_TEST(figure(good, "border_motion_ratio") == 1.0, tt::tolerance(0.25));
  BOOST_TEST(figure(good, "loop") < 0.5);
  for (const char* name : {"similarity_2", "similarity_5", "similarity_10", "similarity_20", "similarity_50"})
    BOOST_TEST(figure(good, name) > 0.97);
  BOOST_TEST(figure(good, "first_frame_ratio") == 1.0, tt::tolerance(0.25));
  BOOST_TEST(figure(good, "content_first_frame") == 1.0);
  BOOST_TEST(figure(good, "content_later_frames") == 1.0);
}

BOOST_AUTO_TEST_CASE(a_frozen_video_is_still) {
  const auto frozen = score(std::vector<at::Tensor>(kFrames, Ball().at(5)));
  BOOST_TEST(figure(frozen, "still_frames") == 1.0);
  BOOST_TEST(figure(frozen, "dynamic_degree_px") == 0.0);
  // Which is why these say nothing by themselves: they are at their best.
  BOOST_TEST(figure(frozen, "similarity_50") > 0.999);
  BOOST_TEST(figure(frozen, "content") == 1.0);

  auto half = good_video();
  std::fill(half.begin() + 81, half.end(), half[81]);
  BOOST_TEST(figure(score(half), "still_frames") == 0.5, tt::tolerance(0.02));
}

BOOST_AUTO_TEST_CASE(a_looped_video_is_found_with_its_period) {
  auto video = good_video();
  for (size_t i = 24; i < video.size(); ++i) video[i] = video[i - 24];
  const auto looped = score(at::stack(video));
  BOOST_TEST(figure(looped, "loop") > 0.99);
  BOOST_TEST(looped["loop_lag_frames"] == 24);
  BOOST_TEST(figure(score(video), "loop") > 0.95);  // noise and all
  std::vector<at::Tensor> turns;                    // the shortest loop
  for (int64_t i = 0; i < 41; ++i) turns.push_back(Ball().at(i % 2 ? 5 : 0));
  BOOST_TEST(figure(score(turns), "loop") > 0.95);
  BOOST_TEST(score(at::stack(turns))["loop_lag_frames"] == 2);
  // A loop that is not shown twice is none.
  BOOST_TEST(figure(score(at::stack(video).narrow(0, 0, 41)), "loop") < 0.5);
}

BOOST_AUTO_TEST_CASE(a_shuffled_video_jumps_all_the_time) {
  auto video = good_video();
  std::shuffle(video.begin(), video.end(), std::mt19937(1));
  const auto shuffled = score(video), good = score(good_video());
  BOOST_TEST(figure(shuffled, "dynamic_degree_px") > 5 * figure(good, "dynamic_degree_px"));
  BOOST_TEST(figure(shuffled, "largest_motion_px") >= 32.0);
  BOOST_TEST(figure(shuffled, "content") == 1.0);  // every frame alone is right
}

BOOST_AUTO_TEST_CASE(a_drifting_video_grows_unlike_itself) {
  auto video = good_video();
  for (size_t i = 0; i < video.size(); ++i) {
    const double share = static_cast<double>(i) / kFrames;
    video[i] = (video[i].to(at::kFloat) * (1 - share) + 150 * share).round().to(at::kByte);
  }
  const auto drifting = score(video), good = score(good_video());
  BOOST_TEST(figure(drifting, "similarity_2") > 0.97);  // neighbours do not show it
  BOOST_TEST(figure(drifting, "similarity_50") < 0.9);
  BOOST_TEST(figure(good, "similarity_50") - figure(good, "similarity_2") > -0.01);
  double last = 1;
  for (const char* name : {"similarity_2", "similarity_5", "similarity_10", "similarity_20", "similarity_50"}) {
    BOOST_TEST(figure(drifting, name) < last);
    last = figure(drifting, name);
  }

  auto other = good_video();  // a circle that becomes a square
  for (int64_t i = kFrames / 2; i < kFrames; ++i)
    other[static_cast<size_t>(i)] = Ball().at(static_cast<double>(i), kSquare);
  const auto changed = score(other);
  BOOST_TEST(figure(changed, "similarity_50") < figure(changed, "similarity_2") - 0.05);
}

BOOST_AUTO_TEST_CASE(a_video_that_jumps_where_blocks_begin_is_found) {
  auto video = good_video();
  for (size_t i = 0; i < video.size(); ++i) {
    const auto block = i < 29 ? 0.0 : std::floor((static_cast<double>(i) - 29) / 32) + 1;  // frames 29, 61, 93, 125
    Ball ball;
    ball.column += 17 * block;
    video[i] = ball.at(static_cast<double>(i));
  }
  const auto jumping = score(video);
  BOOST_TEST(figure(jumping, "largest_motion_px") == std::hypot(17 + 1.7, 0.9), tt::tolerance(0.1));
  BOOST_TEST(figure(jumping, "border_motion_ratio") > 4.0);
  BOOST_TEST(figure(jumping, "dynamic_degree_px") < 3.0);  // four jumps do not make it dynamic
}

BOOST_AUTO_TEST_CASE(a_broken_first_frame_is_found_and_spoils_nothing_else) {
  const at::Tensor good = noised(at::stack(good_video()), 1.0, 1), broken = good.clone();
  broken.select(0, 0).copy_(noised(at::full({64, 96, 3}, 128, at::kByte), 60, 2));
  const auto scores = score(broken), whole = score(good);
  BOOST_TEST(figure(scores, "first_frame_ratio") > 10.0);
  BOOST_TEST(figure(scores, "content_first_frame") == 0.0);
  BOOST_TEST(figure(scores, "content_later_frames") == 1.0);
  for (const char* name : {"dynamic_degree_px", "largest_motion_px", "border_motion_ratio", "loop", "similarity_50"})
    BOOST_TEST(figure(scores, name) == figure(whole, name));
}

BOOST_AUTO_TEST_CASE(pieces_do_not_matter) {
  const at::Tensor video = noised(at::stack(good_video()), 1.0, 1);
  BOOST_TEST(score(video, 1) == score(video, kFrames));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_told_is_null) {
  const std::vector<const char*> names = {
      "dynamic_degree_px", "still_frames", "largest_motion_px", "border_motion_ratio", "loop",
      "loop_lag_frames",   "similarity_2", "similarity_50",     "first_frame_ratio",   "content_later_frames"};
  const auto one = score(good_video(1));
  for (const char* name : names) BOOST_TEST(one.at(name).is_null(), name << " of one frame");
  const auto few = score(good_video(20));
  BOOST_TEST(few["similarity_50"].is_null());
  BOOST_TEST(few["border_motion_ratio"].is_null());  // no blocks
  BOOST_TEST(few["similarity_10"].is_number());
  BOOST_TEST(score(at::stack(std::vector<at::Tensor>(20, Ball().at(5))))["loop"].is_null());  // nothing changes

  std::vector<at::Tensor> grey;  // changes, but has nothing that could be followed
  for (int i = 0; i < 20; ++i) grey.push_back(picture(Rgb{5 * i, 5 * i, 5 * i}));
  const auto plain = score(at::stack(grey));
  BOOST_TEST(plain["dynamic_degree_px"].is_null());
  BOOST_TEST(figure(plain, "still_frames") == 0.0);
}

BOOST_AUTO_TEST_CASE(displacements_are_in_pixels_of_the_frame) {
  const auto moved = [](int64_t height, int64_t width, double down, double right) {
    const double radius = static_cast<double>(height) / 5;
    at::Tensor a = picture(kBlack, height, width), b = picture(kBlack, height, width);
    draw(a, kCircle, kWhite, static_cast<double>(height) / 2, static_cast<double>(width) / 2, radius);
    draw(b, kCircle, kWhite, static_cast<double>(height) / 2 + down, static_cast<double>(width) / 2 + right, radius);
    return motion_between(shrink(a, 256), shrink(b, 256));
  };
  BOOST_TEST(moved(64, 96, 3, 4).displacement_px.value() == 5.0, tt::tolerance(0.1));
  BOOST_TEST(moved(64, 96, 0, 0.5).displacement_px.value() == 0.5, tt::tolerance(0.35));
  BOOST_TEST(moved(480, 832, 24, 32).displacement_px.value() == 40.0, tt::tolerance(0.1));
  BOOST_TEST(moved(64, 96, 0, 0).still);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal::testing
