// SPDX-License-Identifier: Apache-2.0
#include "harness/media/video_file.h"

#include <unistd.h>

#include <filesystem>

#include "base/errors.h"
#include "harness/media/ffmpeg.h"
#include "tests/testing.h"

namespace dualparal {
namespace fs = std::filesystem;

BOOST_AUTO_TEST_SUITE(video_file)

BOOST_AUTO_TEST_CASE(frames_come_back) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("dualparal-video-{}", getpid());
  // A smooth picture that moves: what H.264 is made for.
  const at::Tensor rows = at::arange(48).view({1, 48, 1, 1}), columns = at::arange(64).view({1, 1, 64, 1});
  const at::Tensor frames =
      (rows * 2 + columns * 2 + at::arange(9).view({9, 1, 1, 1}) * 3).expand({9, 48, 64, 3}).to(at::kByte);
  {
    VideoFile video(folder / "v.mp4", 48, 64, 16);
    video.write(frames.slice(0, 0, 4));
    BOOST_TEST(!fs::exists(folder / "v.mp4"));  // nothing half done is to be seen
    video.write(frames.slice(0, 4));
    video.finish();
  }
  const at::Tensor back = read_video(folder / "v.mp4");
  BOOST_TEST(back.sizes() == frames.sizes());
  BOOST_TEST((back.to(at::kFloat) - frames.to(at::kFloat)).abs().mean().item<float>() < 3);
  {
    VideoFile abandoned(folder / "w.mp4", 48, 64, 16);
    abandoned.write(frames);
  }
  BOOST_TEST(std::distance(fs::directory_iterator(folder), {}) == 1);
  VideoFile odd(folder / "odd.mp4", 47, 63, 16);
  odd.write(frames.slice(1, 0, 47).slice(2, 0, 63));
  BOOST_CHECK_THROW(odd.write(frames), Error);
  odd.finish();
  BOOST_CHECK_THROW(VideoFile("/proc/nothing/v.mp4", 48, 64, 16), Error);
  fs::remove_all(folder);
}

BOOST_AUTO_TEST_CASE(chapters_come_back) {
  const testing::TempFolder folder;
  const std::vector<Chapter> chapters{{0, "a cat: \"it\" sleeps"}, {5, "ein Hündchen"}, {11, "a bird"}};
  VideoFile video(folder / "v.mp4", 16, 16, 8, chapters, 17);
  video.write(at::zeros({17, 16, 16, 3}, at::kByte));
  video.finish();
  BOOST_TEST(read_video(folder / "v.mp4").size(0) == 17);
  AVFormatContext* opened = nullptr;
  ffmpeg::check_code(avformat_open_input(&opened, (folder / "v.mp4").c_str(), nullptr, nullptr), "v.mp4");
  const ffmpeg::Input input(opened);
  BOOST_TEST(input->nb_chapters == 3u);
  for (unsigned i = 0; i < input->nb_chapters; ++i) {
    const AVChapter& one = *input->chapters[i];
    const int64_t end = i < 2 ? chapters[i + 1].frame : 17;
    BOOST_TEST(one.start * av_q2d(one.time_base) == static_cast<double>(chapters[i].frame) / 8);
    BOOST_TEST(one.end * av_q2d(one.time_base) == static_cast<double>(end) / 8);
    BOOST_TEST(av_dict_get(one.metadata, "title", nullptr, 0)->value == chapters[i].title);
  }
}

BOOST_AUTO_TEST_CASE(pixels_are_rounded_and_clamped) {
  const at::Tensor pixels =
      at::tensor({-2.0, -1.0, 0.0, 0.999, 1.0, 3.0}).view({1, 1, 1, 1, 6}).expand({1, 3, 1, 1, 6});
  const at::Tensor bytes = to_uint8_frames(pixels);
  BOOST_TEST(bytes.sizes() == at::IntArrayRef({1, 1, 6, 3}));
  BOOST_TEST(at::equal(bytes.select(-1, 0).flatten(), at::tensor({0, 0, 128, 255, 255, 255}).to(at::kByte)));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal
