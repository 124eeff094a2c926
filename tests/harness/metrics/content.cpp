// SPDX-License-Identifier: Apache-2.0
// `content` on frames drawn here; the comparison with its Python original is tests/parity/test_content.py.
#include "harness/metrics/content.h"

#include <cmath>

#include "harness/metrics/quality.h"
#include "tests/harness/metrics/shapes.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;

nlohmann::json score(const std::vector<at::Tensor>& frames, const std::string& prompt) {
  ContentMeter meter(prompt);
  for (const at::Tensor& frame : frames) meter.push_frame(frame);
  return meter.result();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(content)

BOOST_AUTO_TEST_CASE(prompts_are_understood) {
  BOOST_TEST((parse_content_prompt("a red circle bounces over a dark blue background") == ContentClasses{0, 0, 1}));
  BOOST_TEST((parse_content_prompt("A White Triangle glides across a grey background") == ContentClasses{2, 5, 3}));
  BOOST_TEST((parse_content_prompt("a cat") == ContentClasses{-1, -1, -1}));
}

BOOST_AUTO_TEST_CASE(shapes_and_colours_are_recognised) {
  for (const Shape shape : {kCircle, kSquare, kTriangle}) {
    const FrameObject seen = find_object(picture(shape, kRed, kDarkBlue));
    BOOST_TEST(seen.count == 1);
    BOOST_TEST((seen.classes == ContentClasses{shape, 0, 1}));
    BOOST_TEST(seen.centre.has_value());
    BOOST_TEST((*seen.centre)[1] == 40.0, tt::tolerance(1e-9));
  }
  const FrameObject empty = find_object(picture(kBlack));
  BOOST_TEST(empty.count == 0);
  BOOST_TEST(!empty.centre.has_value());
  BOOST_TEST((empty.classes == ContentClasses{-1, -1, 0}));
}

BOOST_AUTO_TEST_CASE(share_of_frames_that_hold_what_was_asked_for) {
  at::Tensor two = picture(kCircle, kRed, kDarkBlue, 20, 20);
  draw(two, kCircle, kRed, 40, 70, 12);
  const auto result = score({picture(kCircle, kRed, kDarkBlue), two, picture(kSquare, kRed, kDarkBlue),
                             picture(kCircle, kWhite, kDarkBlue), picture(kCircle, kRed, kBlack)},
                            "a red circle bounces over a dark blue background");
  BOOST_TEST(result["content"].get<double>() == 0.2, tt::tolerance(1e-12));
  BOOST_TEST(result["content_first_frame"] == 1.0);
  BOOST_TEST(result["content_later_frames"] == 0.0);
  // circle, circle, square, white circle, red circle: three times something else than before.
  BOOST_TEST(result["identity_switches_per_100_frames"].get<double>() == 60.0, tt::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(jumps_are_between_neighbouring_frames_only) {
  const at::Tensor left = picture(kCircle, kRed, kBlack, 30, 30), near = picture(kCircle, kRed, kBlack, 33, 34);
  const at::Tensor right = picture(kCircle, kRed, kBlack, 30, 70), nothing = picture(kBlack);
  const std::string prompt = "a red circle moves over a black background";
  BOOST_TEST(score({left, near}, prompt)["largest_jump_px"].get<double>() == 5.0, tt::tolerance(1e-9));
  BOOST_TEST(score({left, right}, prompt)["largest_jump_px"].get<double>() == 40.0, tt::tolerance(1e-9));
  BOOST_TEST(score({left, nothing, right}, prompt)["largest_jump_px"].get<double>() == 0.0);
  BOOST_TEST(score({left, nothing, right}, prompt)["content"].get<double>() == 2.0 / 3.0, tt::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(null_where_it_does_not_apply) {
  const auto nothing = score({}, "a red circle moves over a black background");
  for (const char* name : {"content", "content_first_frame", "content_later_frames", "identity_switches_per_100_frames",
                           "largest_jump_px"})
    BOOST_TEST(nothing[name].is_null());

  const at::Tensor frame = picture(kCircle, kRed, kBlack).unsqueeze(0);
  for (const bool applies : {true, false}) {
    QualityMeter meter(
        {.frames = 1, .latent_frames = 1, .prompt = "a red circle moves over a black background", .content = applies});
    meter.push_frames(frame);
    const auto result = meter.result();
    if (applies)
      BOOST_TEST(result["content"].get<double>() == 1.0);
    else
      BOOST_TEST(result["content"].is_null());
  }
  expect_error({"content", "[height, width, 3]"}, [] { find_object(at::zeros({64, 96}, at::kByte)); });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal::testing
