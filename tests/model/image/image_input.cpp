// SPDX-License-Identifier: Apache-2.0
// Images as the VAE and the image encoder take them; the comparison with Pillow is in parity/test_image_to_video.py.
#include "model/image/image_input.h"

#include "model/wan/image_condition.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

at::Tensor picture(int64_t height, int64_t width) {
  return (randn({height, width, 3}, 3) * 50 + 120).clamp(0, 255).to(at::kByte);
}

BOOST_AUTO_TEST_SUITE(image_input)

BOOST_AUTO_TEST_CASE(the_same_size_is_the_same_image) {
  const at::Tensor image = picture(7, 9);
  BOOST_TEST(identical(resize_image(image, 7, 9, ResampleFilter::kLanczos), image));
}

BOOST_DATA_TEST_CASE(one_colour_stays_one_colour, data::make({3, 8, 50}) * data::make({5, 61}), height, width) {
  const at::Tensor grey = at::full({20, 30, 3}, 117, at::kByte);
  for (const auto filter : {ResampleFilter::kLanczos, ResampleFilter::kBicubic})
    BOOST_TEST(identical(resize_image(grey, height, width, filter), at::full({height, width, 3}, 117, at::kByte)));
}

BOOST_AUTO_TEST_CASE(pixels_of_the_vae) {
  const at::Tensor black = at::zeros({4, 6, 3}, at::kByte), white = at::full({4, 6, 3}, 255, at::kByte);
  BOOST_TEST(identical(vae_pixels(black, 16, 8), at::full({1, 3, 1, 16, 8}, -1.0f)));
  BOOST_TEST(identical(vae_pixels(white, 16, 8), at::full({1, 3, 1, 16, 8}, 1.0f)));
}

BOOST_AUTO_TEST_CASE(what_is_no_image_is_refused) {
  expect_error({"[4, 6, 4]"}, [] { vae_pixels(at::zeros({4, 6, 4}, at::kByte), 8, 8); });
  expect_error({"uint8"}, [] { vae_pixels(at::zeros({4, 6, 3}), 8, 8); });
}

BOOST_AUTO_TEST_CASE(the_mask_says_which_frames_are_given) {
  const at::Tensor first = condition_mask(3, 2, 2, 4, false), both = condition_mask(3, 2, 2, 4, true);
  BOOST_TEST(first.sum().item<float>() == 4 * 4);
  BOOST_TEST(first.select(2, 0).sum().item<float>() == 4 * 4);
  BOOST_TEST(both.sum().item<float>() == 5 * 4);
  BOOST_TEST(both.select(2, 2).select(1, 3).sum().item<float>() == 4);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
