// SPDX-License-Identifier: Apache-2.0
#include "harness/media/video_file.h"

#include <unistd.h>

#include <filesystem>

#include "base/errors.h"
#include "harness/media/ffmpeg.h"
#include "tests/testing.h"

BOOST_TEST_DONT_PRINT_LOG_VALUE(dualparal::VideoIndex)

namespace dualparal {
using testing::expect_error;
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

namespace {

at::Tensor moving_frames(int64_t count) {
  const at::Tensor rows = at::arange(32).view({1, 32, 1, 1}), columns = at::arange(48).view({1, 1, 48, 1});
  return (rows * 2 + columns + at::arange(count).view({count, 1, 1, 1}) * 3)
      .remainder(200)
      .expand({count, 32, 48, 3})
      .to(at::kByte);
}

// How many frames a player finds, the last of which may be cut off.
int64_t found_frames(const fs::path& file) {
  AVFormatContext* opened = nullptr;
  ffmpeg::check_code(avformat_open_input(&opened, file.c_str(), nullptr, nullptr), file);
  const ffmpeg::Input input(opened);
  const ffmpeg::Packet packet(av_packet_alloc());
  int64_t count = 0;
  for (; av_read_frame(input.get(), packet.get()) >= 0; av_packet_unref(packet.get())) ++count;
  return count;
}

}  // namespace

BOOST_DATA_TEST_CASE(it_plays_while_it_grows, testing::data::make({VideoIndex::kWhole, VideoIndex::kFragments}),
                     index) {
  const testing::TempFolder folder;
  const fs::path file = folder / "v.mp4", growing = folder / "v.partial.mp4";
  BOOST_TEST(growing_path(file) == growing);
  const at::Tensor frames = moving_frames(120);
  VideoFile video(file, 32, 48, 16, {{0, "begin"}, {60, "end"}}, 120);
  video.write(frames.slice(0, 0, 60));
  const int64_t early = read_video(growing).size(0);
  BOOST_TEST(early >= 30);  // but for what the encoder looks ahead, and a fragment
  video.write(frames.slice(0, 60, 100));
  fs::copy_file(growing, folder / "killed.mp4");  // what is there of a program that is killed now
  fs::resize_file(folder / "killed.mp4", fs::file_size(growing) - 7);
  BOOST_TEST(found_frames(folder / "killed.mp4") >= early);
  expect_error({"v.partial.mp4", "another run"}, [&] { VideoFile(file, 32, 48, 16); });
  video.write(frames.slice(0, 100));
  BOOST_TEST(!fs::exists(file));
  video.finish(index);
  BOOST_TEST(!fs::exists(growing));
  const at::Tensor back = read_video(file);
  BOOST_TEST(back.sizes() == frames.sizes());
  BOOST_TEST((back.to(at::kFloat) - frames.to(at::kFloat)).abs().mean().item<float>() < 3);
}

BOOST_AUTO_TEST_CASE(what_was_encoded_stays_until_another_video_grows) {
  const testing::TempFolder folder;
  const at::Tensor frames = moving_frames(90);
  {
    VideoFile abandoned(folder / "v.mp4", 32, 48, 16);
    abandoned.write(frames);
  }
  const int64_t kept = read_video(folder / "v.partial.mp4").size(0);
  BOOST_TEST(kept >= 60);
  { const VideoFile unused(folder / "v.mp4", 32, 48, 16); }
  BOOST_TEST(read_video(folder / "v.partial.mp4").size(0) == kept);
  VideoFile next(folder / "v.mp4", 32, 48, 16);
  next.write(frames.slice(0, 0, 5));
  next.finish();
  BOOST_TEST(folder.list() == std::vector<std::string>{"v.mp4"}, boost::test_tools::per_element());
  BOOST_TEST(read_video(folder / "v.mp4").size(0) == 5);
  VideoFile empty(folder / "w.mp4", 32, 48, 16);
  expect_error({"w.mp4", "no frames"}, [&] { empty.finish(); });
}

BOOST_DATA_TEST_CASE(chapters_come_back, testing::data::make({VideoIndex::kWhole, VideoIndex::kFragments}), index) {
  const testing::TempFolder folder;
  const std::vector<Chapter> chapters{{0, "a cat: \"it\" sleeps"}, {5, "ein Hündchen"}, {11, "a bird"}};
  VideoFile video(folder / "v.mp4", 16, 16, 8, chapters, 17);
  video.write(at::zeros({17, 16, 16, 3}, at::kByte));
  video.finish(index);
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
