// SPDX-License-Identifier: Apache-2.0
// The quality metrics on videos and latents whose figures are known beforehand.
#include "harness/metrics/quality.h"

#include <cmath>

#include "harness/metrics/comparison.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;

constexpr int64_t kHeight = 16, kWidth = 24;

/// A video whose frame i is one grey level.
at::Tensor grey_video(const std::vector<int64_t>& levels) {
  const at::Tensor frames = at::empty({static_cast<int64_t>(levels.size()), kHeight, kWidth, 3}, at::kByte);
  for (size_t i = 0; i < levels.size(); ++i) frames[static_cast<int64_t>(i)].fill_(levels[i]);
  return frames;
}

/// Video with normal noise of `sigma` around mid-grey, rounded.
at::Tensor noisy_grey(int64_t frames, double sigma, uint64_t seed) {
  return (randn({frames, kHeight, kWidth, 3}, seed) * sigma + 128).round().clamp(0, 255).to(at::kByte);
}

nlohmann::json quality_of_frames(const at::Tensor& frames, std::vector<int64_t> block_starts = {}, int64_t piece = 5) {
  const int64_t count = frames.size(0);
  QualityMeter meter({.frames = count, .latent_frames = (count + 2) / 4 + 1, .block_starts = std::move(block_starts)});
  for (int64_t i = 0; i < count; i += piece) meter.push_frames(frames.narrow(0, i, std::min(piece, count - i)));
  return meter.result();
}

nlohmann::json quality_of_latents(const at::Tensor& latents, std::vector<int64_t> block_starts, int64_t piece = 3) {
  const int64_t count = latents.size(2);
  QualityMeter meter({.frames = 4 * (count - 1) + 1, .latent_frames = count, .block_starts = std::move(block_starts)});
  for (int64_t i = 0; i < count; i += piece) meter.push_latents(latents.narrow(2, i, std::min(piece, count - i)));
  return meter.result();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(quality)

BOOST_AUTO_TEST_CASE(constant_video_does_not_flicker_or_drift) {
  const auto result = quality_of_frames(grey_video(std::vector<int64_t>(33, 90)), {0, 4});
  BOOST_TEST(result["flicker"].get<double>() == 1.0);
  BOOST_TEST(result["drift_colour"].get<double>() == 0.0, tt::tolerance(1e-12));
  BOOST_TEST(result["drift_colour_within_start"].get<double>() == 0.0, tt::tolerance(1e-12));
  BOOST_TEST(result["seam_ratio"].is_null());  // nothing changes anywhere: no ratio
}

BOOST_AUTO_TEST_CASE(fields_are_always_there_and_null_where_nothing_came) {
  const auto result = QualityMeter({.frames = 33, .latent_frames = 9}).result();
  for (const char* name : {"flicker",
                           "seam_ratio",
                           "seam_ratio_in_phase",
                           "drift",
                           "drift_colour",
                           "drift_latent",
                           "drift_within_start",
                           "drift_colour_within_start",
                           "drift_latent_within_start",
                           "repetition",
                           "content",
                           "content_first_frame",
                           "content_later_frames",
                           "dynamic_degree_px",
                           "still_frames",
                           "largest_motion_px",
                           "border_motion_ratio",
                           "loop",
                           "loop_lag_frames",
                           "similarity_2",
                           "similarity_50",
                           "first_frame_ratio",
                           "identity_switches_per_100_frames",
                           "largest_jump_px",
                           "psnr_db",
                           "ssim",
                           "latent_relative_error"}) {
    BOOST_TEST(result.contains(name), name << " is missing");
    BOOST_TEST(result[name].is_null(), name << " is not null");
  }
}

BOOST_AUTO_TEST_CASE(flicker_is_the_mean_change) {
  // Changes of 2, 4 and 6 levels: mean 4.
  BOOST_TEST(quality_of_frames(grey_video({10, 12, 8, 14}))["flicker"].get<double>() == 251.0 / 255.0,
             tt::tolerance(1e-12));
  BOOST_TEST(quality_of_frames(grey_video({10}))["flicker"].is_null());
}

BOOST_AUTO_TEST_CASE(seams_are_where_blocks_begin) {
  // Latent frames 3 and 6 begin at frames 9 and 21: a change of 12 there, of 4 elsewhere.
  std::vector<int64_t> levels = {100};
  for (int64_t i = 1; i < 33; ++i) {
    const int64_t step = i == 9 || i == 21 ? 12 : 4;
    levels.push_back(levels.back() + (i % 2 ? step : -step));
  }
  for (const int64_t piece : {1, 4, 33}) {
    const auto result = quality_of_frames(grey_video(levels), {0, 3, 6}, piece);
    BOOST_TEST(result["seam_ratio"].get<double>() == 3.0, tt::tolerance(1e-12));
    BOOST_TEST(result["seam_ratio_in_phase"].get<double>() == 3.0, tt::tolerance(1e-12));
  }
  BOOST_TEST(quality_of_frames(grey_video(levels), {3, 6})["seam_ratio"].get<double>() == 3.0, tt::tolerance(1e-12));
  BOOST_TEST(quality_of_frames(grey_video(levels), {})["seam_ratio"].is_null());
  BOOST_TEST(quality_of_frames(grey_video(levels), {0})["seam_ratio"].is_null());
}

BOOST_AUTO_TEST_CASE(a_decoder_that_pulses_at_every_latent_frame_is_no_seam_in_phase) {
  std::vector<int64_t> levels = {100};
  for (int64_t i = 1; i < 33; ++i) {
    const int64_t step = i % 4 == 1 ? 10 : 2;
    levels.push_back(levels.back() + (i % 2 ? step : -step));
    if (levels.back() > 200 || levels.back() < 40) levels.back() = levels[levels.size() - 2] - (i % 2 ? step : -step);
  }
  const auto result = quality_of_frames(grey_video(levels), {0, 4});
  BOOST_TEST(result["seam_ratio"].get<double>() > 2.0);
  BOOST_TEST(result["seam_ratio_in_phase"].get<double>() == 1.0, tt::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(linear_colour_drift_is_found) {
  // One level a frame, 40 frames: windows of 4, 36 frames between first and last, 4 between first and second.
  std::vector<int64_t> levels;
  for (int64_t i = 0; i < 40; ++i) levels.push_back(60 + i);
  const auto result = quality_of_frames(grey_video(levels));
  BOOST_TEST(result["drift_colour"].get<double>() == 36.0 / 255.0, tt::tolerance(1e-9));
  BOOST_TEST(result["drift_colour_within_start"].get<double>() == 4.0 / 255.0, tt::tolerance(1e-9));
  BOOST_TEST(result["drift"].is_null());  // no latents came
}

BOOST_AUTO_TEST_CASE(drift_of_one_channel_and_of_contrast) {
  at::Tensor frames = grey_video(std::vector<int64_t>(20, 100));
  frames.narrow(0, 18, 2).select(3, 0).fill_(130);  // red only: sqrt(30^2 / 3)
  BOOST_TEST(quality_of_frames(frames)["drift_colour"].get<double>() == 30.0 / std::sqrt(3.0) / 255.0,
             tt::tolerance(1e-9));
  frames = grey_video(std::vector<int64_t>(20, 100));
  frames.narrow(0, 18, 2).narrow(1, 0, kHeight / 2).fill_(80);  // same mean, standard deviation 20
  frames.narrow(0, 18, 2).narrow(1, kHeight / 2, kHeight / 2).fill_(120);
  BOOST_TEST(quality_of_frames(frames)["drift_colour"].get<double>() == 20.0 / 255.0, tt::tolerance(1e-9));
}

BOOST_AUTO_TEST_CASE(drift_of_latents_and_both_together) {
  const at::Tensor latents = at::zeros({1, 16, 20, 4, 6});
  latents.narrow(2, 18, 2).fill_(0.75);
  const auto result = quality_of_latents(latents, {});
  BOOST_TEST(result["drift_latent"].get<double>() == 0.75, tt::tolerance(1e-9));
  BOOST_TEST(result["drift_latent_within_start"].get<double>() == 0.0, tt::tolerance(1e-9));

  QualityMeter both({.frames = 20, .latent_frames = 6});
  const at::Tensor frames = grey_video(std::vector<int64_t>(20, 0));
  frames.narrow(0, 18, 2).fill_(102);  // 0.4
  both.push_frames(frames);
  const at::Tensor few = at::zeros({1, 16, 6, 4, 6});
  few.select(2, 5).fill_(0.3);
  both.push_latents(few);
  BOOST_TEST(both.result()["drift"].get<double>() == 0.5, tt::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(a_copied_block_is_found) {
  const at::Tensor block = randn({1, 16, 8, 8, 12}, 1), other = randn({1, 16, 8, 8, 12}, 2);
  const auto copied = quality_of_latents(at::cat({block, other, block}, 2), {0, 8, 16});
  BOOST_TEST(copied["repetition"].get<double>() == 1.0, tt::tolerance(1e-6));
  // A still picture shared by all blocks is no repetition: it is removed as the mean over a block's frames.
  const at::Tensor still = 5 * randn({1, 16, 1, 8, 12}, 3);
  const auto fresh = quality_of_latents(still + randn({1, 16, 24, 8, 12}, 4), {0, 8, 16});
  BOOST_TEST(std::abs(fresh["repetition"].get<double>()) < 0.05);
  // Half of the other block's motion: correlation 1 / sqrt(2).
  const auto mixed = quality_of_latents(at::cat({block, block + other}, 2), {0, 8});
  BOOST_TEST(mixed["repetition"].get<double>() == std::sqrt(0.5), tt::tolerance(0.03));
}

BOOST_AUTO_TEST_CASE(repetition_without_blocks_and_with_uneven_ones) {
  const at::Tensor chunk = randn({1, 16, 8, 8, 12}, 5);
  BOOST_TEST(quality_of_latents(at::cat({chunk, chunk}, 2), {})["repetition"].get<double>() == 1.0,
             tt::tolerance(1e-6));
  BOOST_TEST(quality_of_latents(chunk, {})["repetition"].is_null());                             // one chunk
  BOOST_TEST(quality_of_latents(randn({1, 16, 9, 8, 12}, 6), {})["repetition"].is_null());       // 8 + 1
  BOOST_TEST(quality_of_latents(at::ones({1, 16, 16, 8, 12}), {0, 8})["repetition"].is_null());  // nothing moves
  // A first block of 12, then 8, and a rest of 5: compared as far as the shorter one goes.
  const at::Tensor blocks = randn({1, 16, 25, 8, 12}, 7);
  blocks.narrow(2, 20, 5).copy_(blocks.narrow(2, 12, 5));
  BOOST_TEST(quality_of_latents(blocks, {0, 12, 20})["repetition"].get<double>() == 1.0, tt::tolerance(1e-6));
}

// More blocks than are compared at a time: the first longer, the last shorter, one in which nothing moves.
BOOST_AUTO_TEST_CASE(the_highest_of_many_pairs_is_repetition) {
  std::vector<int64_t> starts{0};
  for (int64_t start = 6; start < 6 + 4 * 80; start += 4) starts.push_back(start);
  const int64_t frames = starts.back() + 3;
  for (const size_t copy : {size_t{40}, size_t{79}, size_t{80}}) {  // the last is of 3 frames
    at::Tensor latents = randn({1, 4, frames, 2, 3}, 11);
    latents.narrow(2, starts[50], 4).fill_(1);
    latents.narrow(2, starts[copy], 3).add_(latents.narrow(2, starts[7], 3), 2);
    const auto moving = [&](size_t block, int64_t length) {
      const at::Tensor part = latents[0].narrow(1, starts[block], length).to(at::kDouble);
      return (part - part.mean(1, true)).flatten();
    };
    double expected = -1;
    for (size_t i = 0; i < starts.size(); ++i)
      for (size_t j = 0; j < i; ++j) {
        const int64_t length = i == 80 ? 3 : 4;
        const at::Tensor a = moving(i, length), b = moving(j, length);
        if (i != 50 && j != 50) expected = std::max(expected, (a.dot(b) / (a.norm() * b.norm())).item<double>());
      }
    BOOST_TEST(expected > 0.6);
    BOOST_TEST(quality_of_latents(latents, starts)["repetition"].get<double>() == expected, tt::tolerance(1e-9));
  }
}

BOOST_AUTO_TEST_CASE(large_latents_are_pooled_and_copies_still_found) {
  const at::Tensor block = randn({1, 16, 8, 60, 104}, 8), other = randn({1, 16, 8, 60, 104}, 9);
  BOOST_TEST(quality_of_latents(at::cat({block, block}, 2), {0, 8})["repetition"].get<double>() == 1.0,
             tt::tolerance(1e-6));
  BOOST_TEST(std::abs(quality_of_latents(at::cat({block, other}, 2), {0, 8})["repetition"].get<double>()) < 0.05);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  expect_error({"decode to 33 frames", "34"}, [] { QualityMeter({.frames = 34, .latent_frames = 9}); });
  expect_error({"ascending", "[4, 4]"}, [] {
    QualityMeter({.frames = 33, .latent_frames = 9, .block_starts = {4, 4}});
  });
  QualityMeter meter({.frames = 5, .latent_frames = 2});
  expect_error({"[frames, height, width, 3]"}, [&] { meter.push_frames(at::zeros({1, 3, 8, 8}, at::kByte)); });
  expect_error({"fp32"}, [&] { meter.push_latents(at::zeros({16, 2, 8, 8})); });
  meter.push_frames(grey_video({1, 2, 3}));
  expect_error({"3 of 5 frames came"}, [&] { meter.result(); });
  expect_error({"more than the 5 frames"}, [&] { meter.push_frames(grey_video({4, 5, 6})); });
}

BOOST_AUTO_TEST_CASE(psnr_of_known_noise) {
  for (const double sigma : {2.0, 5.0, 12.0}) {
    const double rounding = 1.0 / 12.0;  // variance of rounding to whole levels
    const double expected = 10 * std::log10(255.0 * 255.0 / (sigma * sigma + rounding));
    const at::Tensor grey = grey_video(std::vector<int64_t>(60, 128));
    BOOST_TEST(std::abs(psnr_db(noisy_grey(60, sigma, 10), grey) - expected) < 0.1);
  }
}

BOOST_AUTO_TEST_CASE(identical_videos) {
  const at::Tensor frames = noisy_grey(3, 20, 11);
  BOOST_TEST(psnr_db(frames, frames) == kLargestPsnrDb);
  BOOST_TEST(ssim(frames, frames) == 1.0, tt::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(ssim_by_its_formula) {
  // One place only: an 11 x 11 frame. The weighted moments, summed up naively.
  const at::Tensor a = noisy_grey(1, 30, 12).narrow(1, 0, 11).narrow(2, 0, 11);
  const at::Tensor b = noisy_grey(1, 30, 13).narrow(1, 0, 11).narrow(2, 0, 11);
  const auto luma = [](const at::Tensor& video, int64_t y, int64_t x) {
    const at::Tensor rgb = video[0][y][x].to(at::kDouble);
    return 0.299 * rgb[0].item<double>() + 0.587 * rgb[1].item<double>() + 0.114 * rgb[2].item<double>();
  };
  double weight_sum = 0, sum_a = 0, sum_b = 0, sum_aa = 0, sum_bb = 0, sum_ab = 0;
  for (int64_t y = 0; y < 11; ++y) {
    for (int64_t x = 0; x < 11; ++x) {
      const double w = std::exp(-static_cast<double>((y - 5) * (y - 5) + (x - 5) * (x - 5)) / 4.5);
      const double p = luma(a, y, x), q = luma(b, y, x);
      weight_sum += w, sum_a += w * p, sum_b += w * q;
      sum_aa += w * p * p, sum_bb += w * q * q, sum_ab += w * p * q;
    }
  }
  const double ma = sum_a / weight_sum, mb = sum_b / weight_sum;
  const double va = sum_aa / weight_sum - ma * ma, vb = sum_bb / weight_sum - mb * mb;
  const double cov = sum_ab / weight_sum - ma * mb, c1 = 6.5025, c2 = 58.5225;
  const double expected = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
  BOOST_TEST(ssim(a, b) == expected, tt::tolerance(1e-9));
}

BOOST_AUTO_TEST_CASE(comparison_in_pieces_is_the_same) {
  const at::Tensor a = noisy_grey(7, 20, 14), b = noisy_grey(7, 20, 15);
  VideoComparison pieces;
  pieces.push(a.narrow(0, 0, 3), b.narrow(0, 0, 3));
  pieces.push(a.narrow(0, 3, 4), b.narrow(0, 3, 4));
  BOOST_TEST(pieces.psnr_db() == psnr_db(a, b), tt::tolerance(1e-12));
  BOOST_TEST(pieces.ssim() == ssim(a, b), tt::tolerance(1e-12));
  expect_error({"must be like the video"}, [&] { psnr_db(a, b.narrow(0, 0, 3)); });
}

BOOST_AUTO_TEST_CASE(relative_error_of_latents) {
  const at::Tensor latents = randn({1, 16, 3, 8, 12}, 16);
  BOOST_TEST(latent_relative_error(latents, latents) == 0.0);
  BOOST_TEST(latent_relative_error(latents * 1.25, latents) == 0.25, tt::tolerance(1e-6));
  expect_error({"zero everywhere"}, [&] { latent_relative_error(latents, at::zeros_like(latents)); });
  expect_error({"shapes differ"}, [&] { latent_relative_error(latents, latents.narrow(2, 0, 2)); });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal::testing
