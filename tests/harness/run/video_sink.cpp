// SPDX-License-Identifier: Apache-2.0
// With the embedded model's VAE: one of random weights would decode everything to the same grey.
#include "harness/run/video_sink.h"

#include <chrono>
#include <cmath>
#include <future>

#include "base/measure/memory.h"
#include "strategy/denoise/number_watch.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

constexpr int64_t kHeight = 16, kWidth = 24;

std::unique_ptr<Vae> embedded_vae() {
  return WanModel("models/moving-shapes", false).load_vae({}, Vae::Parts::kDecoder);
}
std::unique_ptr<Vae> no_vae() { fail("the VAE's disk is on fire"); }

VideoSinkOptions options(int64_t frames, bool overlap) {
  VideoSinkOptions result;
  result.frames = frames;
  result.height = kHeight;
  result.width = kWidth;
  result.overlap = overlap;
  return result;
}

at::Tensor latents_of(int64_t frames) { return randn({1, 16, frames, kHeight / 8, kWidth / 8}, 1); }

// Pushes until the failure of the decoding thread comes back.
void push_until_it_throws(VideoSink& sink) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::chrono::steady_clock::now() < end) {
    sink.push(latents_of(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(harness_video_sink)

BOOST_DATA_TEST_CASE(frames_and_latents_are_those_of_the_whole_video, data::make({false, true}), overlap) {
  const TempFolder folder;
  const at::Tensor latents = latents_of(6);
  const at::Tensor expected = to_uint8_frames(embedded_vae()->decode(latents)).slice(0, 0, 19);  // of 21
  QualityMeter quality({.frames = 19, .latent_frames = 6});
  VideoSinkOptions wanted = options(19, overlap);
  wanted.video_path = folder / "v.mp4";
  wanted.frames_dir = folder / "frames";
  wanted.latents_path = folder / "l.safetensors";
  fs::create_directory(wanted.frames_dir);

  VideoSink sink(wanted, embedded_vae, &quality);
  for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {1, 4}, {4, 6}}) {
    const at::Tensor buffer = latents.slice(2, begin, end).clone();
    sink.push(buffer);
    buffer.zero_();  // what was pushed may be overwritten
  }
  BOOST_TEST(!fs::exists(folder / "v.mp4"));
  sink.finish();

  BOOST_TEST(sink.decode_s() > 0);
  BOOST_TEST(identical(read_tensor(folder / "l.safetensors", "latents", {1, 16, -1, -1, -1}), latents));
  BOOST_TEST(std::distance(fs::directory_iterator(wanted.frames_dir), {}) == 19);
  for (int64_t i = 0; i < 19; ++i)
    BOOST_TEST(identical(read_video(folder / fmt::format("frames/frame_{:05}.png", i))[0], expected[i]), "frame " << i);
  BOOST_TEST(read_video(folder / "v.mp4").sizes() == expected.sizes());
  BOOST_CHECK_NO_THROW(quality.result());  // it has seen every frame and every latent frame
  BOOST_TEST(folder.list().size() == 3u);
}

BOOST_AUTO_TEST_CASE(latents_alone_need_no_vae) {
  const TempFolder folder;
  VideoSinkOptions wanted = options(9, true);
  wanted.decode = false;
  wanted.latents_path = folder / "l.safetensors";
  VideoSink sink(wanted, no_vae, nullptr);
  const at::Tensor latents = latents_of(3);
  sink.push(latents.slice(2, 0, 2));
  sink.push(latents.slice(2, 2));
  sink.finish();
  BOOST_TEST(identical(read_tensor(folder / "l.safetensors", "latents", {1, 16, 3, -1, -1}), latents));
  BOOST_TEST(sink.decode_s() == 0);
}

// However far decoding falls behind.
BOOST_AUTO_TEST_CASE(latents_that_wait_to_be_decoded_take_no_memory) {
  count_cpu_memory();
  std::promise<void> tried;
  VideoSink sink(
      options(9, true),
      [&]() -> std::unique_ptr<Vae> {
        tried.get_future().wait();
        fail("the VAE's disk is on fire");
      },
      nullptr);
  const at::Tensor latents = latents_of(64);
  const int64_t before = memory_usage(at::kCPU).allocated_bytes;
  for (int piece = 0; piece < 200; ++piece) sink.push(latents);
  const int64_t taken = memory_usage(at::kCPU).allocated_bytes - before;
  tried.set_value();
  BOOST_TEST(taken <= 2 * static_cast<int64_t>(latents.nbytes()));
  BOOST_TEST(sink.latent_frames() == 200 * 64);
}

BOOST_AUTO_TEST_CASE(latents_without_an_end_need_not_be_decoded) {
  VideoSinkOptions wanted = options(9, false);
  wanted.endless = true;
  wanted.decode = false;
  VideoSink sink(wanted, no_vae, nullptr);
  for (int piece = 0; piece < 100; ++piece) sink.push(latents_of(2));
  sink.finish();
  BOOST_TEST(sink.latent_frames() == 200);
}

BOOST_DATA_TEST_CASE(a_failure_while_decoding_comes_back_and_leaves_the_latents, data::make({false, true}), overlap) {
  const TempFolder folder;
  {
    VideoSinkOptions wanted = options(5, overlap);
    wanted.video_path = folder / "v.mp4";
    wanted.latents_path = folder / "l.safetensors";
    VideoSink sink(wanted, no_vae, nullptr);
    sink.push(latents_of(2));
    expect_error({"on fire"}, [&] { sink.finish(); });
  }
  BOOST_TEST(folder.list() == std::vector<std::string>{"l.safetensors"}, boost::test_tools::per_element());
}

BOOST_DATA_TEST_CASE(latents_that_are_not_finite_are_refused, data::make({static_cast<double>(NAN), HUGE_VAL}), wrong) {
  const TempFolder folder;
  VideoSinkOptions wanted = options(5, true);
  wanted.video_path = folder / "v.mp4";
  {
    VideoSink sink(wanted, embedded_vae, nullptr);
    sink.push(latents_of(2));
    at::Tensor latents = latents_of(3);
    latents[0][1][2][0][1] = wrong;
    expect_error<NotFiniteError>({"latent frames 2..4", "not finite"}, [&] { sink.push(latents); });
  }
  BOOST_TEST(folder.list().empty());
}

BOOST_AUTO_TEST_CASE(pixels_that_are_not_finite_are_refused) {
  const TempFolder folder;
  VideoSinkOptions wanted = options(5, false);
  wanted.video_path = folder / "v.mp4";
  {
    VideoSink sink(wanted, embedded_vae, nullptr);
    sink.push(at::full({1, 16, 2, kHeight / 8, kWidth / 8}, 1e38));
    expect_error({"video frames 0", "not finite"}, [&] { sink.finish(); });
  }
  BOOST_TEST(folder.list().empty());
}

BOOST_AUTO_TEST_CASE(a_failure_while_decoding_ends_the_denoising) {
  VideoSink sink(options(5, true), no_vae, nullptr);
  expect_error({"on fire"}, [&] { push_until_it_throws(sink); });
}

BOOST_DATA_TEST_CASE(without_an_end_no_video_is_left, data::make({false, true}), overlap) {
  const TempFolder folder;
  VideoSinkOptions wanted = options(21, overlap);
  wanted.video_path = folder / "v.mp4";
  {
    VideoSink sink(wanted, embedded_vae, nullptr);
    sink.push(latents_of(2));
    BOOST_TEST(!folder.list().empty());  // something is being written
  }
  BOOST_TEST(folder.list().empty());
}

BOOST_AUTO_TEST_CASE(missing_frames_are_refused) {
  const TempFolder folder;
  VideoSinkOptions wanted = options(9, false);
  wanted.video_path = folder / "v.mp4";
  {
    VideoSink sink(wanted, embedded_vae, nullptr);
    sink.push(latents_of(2));
    expect_error({"5 frames", "expected 9"}, [&] { sink.finish(); });
  }
  BOOST_TEST(folder.list().empty());
}

// Decoding is slower than this: push() waits, so only some pieces are in memory.
BOOST_AUTO_TEST_CASE(a_video_without_an_end_has_as_many_frames_as_come) {
  const TempFolder folder;
  VideoSinkOptions wanted = options(int64_t{1} << 40, true);
  wanted.endless = true;
  wanted.video_path = folder / "v.mp4";
  {
    VideoSink sink(wanted, embedded_vae, nullptr);
    for (int i = 0; i < 40; ++i) sink.push(latents_of(1));
    sink.finish();
    BOOST_TEST(sink.latent_frames() == 40);
    BOOST_TEST(sink.frames_written() == 157);
  }
  BOOST_TEST(read_video(folder / "v.mp4").size(0) == 157);
  VideoSink none((wanted.video_path = folder / "none.mp4", wanted), embedded_vae, nullptr);
  none.finish();
  BOOST_TEST(folder.list() == std::vector<std::string>{"v.mp4"}, boost::test_tools::per_element());
  VideoSink failing(wanted, no_vae, nullptr);
  expect_error({"on fire"}, [&] { push_until_it_throws(failing); });
}

BOOST_AUTO_TEST_CASE(a_path_that_cannot_be_written_fails_at_once) {
  VideoSinkOptions wanted = options(5, false);
  wanted.video_path = "/proc/nothing/v.mp4";
  expect_error({"/proc/nothing"}, [&] { VideoSink sink(wanted, no_vae, nullptr); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
