// SPDX-License-Identifier: Apache-2.0
// Several videos through one pipeline: each is what it is alone, and the pipeline fills and drains once.
#include "base/measure/memory.h"
#include "tests/dualparal/plain_loop.h"

namespace dualparal::testing {
namespace {

// A video of a prompt, seed and noise of its own.
Request video(int64_t frames, uint64_t number) {
  Request request = ranks_request(frames);
  request.prompt_embeds = randn({1, 7, 24}, 40 + number);
  request.seed = 60 + number;
  return request;
}

std::vector<Request> videos_behind_the_first(int64_t frames, uint64_t count) {
  std::vector<Request> following;
  for (uint64_t number = 1; number < count; ++number) following.push_back(video(frames, number));
  return following;
}

at::Tensor denoise_list(const OptionValues& options, const Request& first, const std::vector<Request>& following,
                        int64_t ranks, int64_t* sent = nullptr, uint64_t delays = 0) {
  CollectingSink sink;
  denoise_into(
      sink, dualparal_strategy(), options, first, ranks, kConfig, at::kFloat, delays, sent,
      [](int64_t) { return &no_snapshots(); }, following);
  return sink.latents();
}

// Every video against a run of its own with the same options and ranks.
void check_each_is_what_it_is_alone(const OptionValues& options, const Request& first,
                                    const std::vector<Request>& following, int64_t ranks) {
  int64_t sent = 0;
  const at::Tensor all = denoise_list(options, first, following, ranks, &sent);
  const auto count = static_cast<int64_t>(following.size()) + 1;
  BOOST_REQUIRE(all.size(2) == count * first.latent_frames);
  for (int64_t v = 0; v < count; ++v) {
    const Request& own = v == 0 ? first : following[v - 1];
    const at::Tensor made = all.slice(2, v * first.latent_frames, (v + 1) * first.latent_frames);
    BOOST_TEST_CONTEXT("video " << v)
    BOOST_TEST(identical(made, denoise_on_ranks(dualparal_strategy(), options, own, ranks, kConfig)));
  }
  const StrategyPlan plan = plan_of(dualparal_strategy(), options, first, ranks, kConfig, count);
  double planned = 0;
  for (const Traffic& one : plan.traffic) planned += one.bytes;
  BOOST_TEST(static_cast<double>(sent) == planned, boost::test_tools::tolerance(1e-9));
}

class CountingSink final : public LatentsSink {
 public:
  void push(const at::Tensor& latents) override { frames += latents.size(2); }
  int64_t frames = 0;
};

// Of one rank, while it denoises so many videos.
int64_t peak_bytes(uint64_t videos) {
  const OptionValues options = options_of({"on", "on", "matched_kv", 2, 7});
  const auto following = videos_behind_the_first(7, videos);
  CountingSink sink;
  reset_peak_memory(at::kCPU);
  const int64_t before = memory_usage(at::kCPU).allocated_bytes;
  denoise_into(
      sink, dualparal_strategy(), options, video(7, 0), 1, kConfig, at::kFloat, 0, nullptr,
      [](int64_t) { return &no_snapshots(); }, following);
  BOOST_TEST(sink.frames == static_cast<int64_t>(7 * videos));
  return memory_usage(at::kCPU).peak_allocated_bytes - before;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(video_queue)

BOOST_DATA_TEST_CASE(each_video_is_what_it_is_alone, data::make(kVariants) * data::make({1, 3}), variant, ranks) {
  check_each_is_what_it_is_alone(options_of(variant), video(variant.frames, 0),
                                 videos_behind_the_first(variant.frames, 3), ranks);
}

BOOST_DATA_TEST_CASE(on_two_and_four_ranks, data::make({"synchronous", "matched_kv"}) * data::make({2, 4}), previous,
                     ranks) {
  check_each_is_what_it_is_alone(options_of({"on", "on", previous, 2, 9}), video(9, 0), videos_behind_the_first(9, 3),
                                 ranks);
}

// Many videos of one block are in the queue at a time.
BOOST_DATA_TEST_CASE(videos_of_one_block, data::make({"synchronous", "matched_kv"}), previous) {
  check_each_is_what_it_is_alone(options_of({"on", "on", previous, 2, 4}), video(4, 0), videos_behind_the_first(4, 7),
                                 2);
}

BOOST_DATA_TEST_CASE(in_groups, data::make({"synchronous", "matched_kv"}), previous) {
  auto options = options_of({"on", "on", previous, 2, 9});
  options["sequence-degree"] = "2";
  check_each_is_what_it_is_alone(options, video(9, 0), videos_behind_the_first(9, 2), 4);
  options["guidance-parallel"] = "on";
  check_each_is_what_it_is_alone(options, video(9, 0), videos_behind_the_first(9, 2), 8);
}

// Two experts, and an image as the first frame of each video.
BOOST_AUTO_TEST_CASE(of_two_experts_and_an_image) {
  Request first = experts_request(9);
  first.first_frame = randn({1, 16, 1, 4, 6}, 31);
  Request second = first;
  second.first_frame = randn({1, 16, 1, 4, 6}, 32);
  second.prompt_embeds = randn({1, 7, 24}, 33);
  check_each_is_what_it_is_alone(options_of(kVariants[0]), first, {second}, 2);
}

BOOST_AUTO_TEST_CASE(timing_changes_nothing) {
  const OptionValues options = options_of({"on", "on", "synchronous", 2, 9});
  const auto following = videos_behind_the_first(9, 3);
  BOOST_TEST(identical(denoise_list(options, video(9, 0), following, 3, nullptr, 1),
                       denoise_list(options, video(9, 0), following, 3)));
}

// At most the N (N - 1) idle slots of each of N ranks that one long video has, however many videos; one by one, as
// often as there are videos.
BOOST_DATA_TEST_CASE(the_pipeline_fills_once, data::make({2, 4, 8}) * data::make({8, 20}), ranks, videos) {
  const OptionValues options = options_of({"on", "on", "synchronous", 2, 9});  // three blocks
  const Request request = ranks_request(9, 12);
  const auto slots = [&](int64_t count) {
    return *plan_of(dualparal_strategy(), options, request, ranks, kConfig, count).slots;
  };
  BOOST_TEST(slots(videos).idle <= ranks * ranks * (ranks - 1));
  BOOST_TEST(slots(videos).idle == slots(2 * videos).idle);
  BOOST_TEST(slots(videos).work == videos * slots(1).work);
  const StrategyPlan alone = plan_of(dualparal_strategy(), options, request, ranks, kConfig);
  BOOST_TEST(alone.repeated(videos).slots->idle == videos * slots(1).idle);
}

BOOST_AUTO_TEST_CASE(memory_does_not_grow_with_the_number_of_prompts) {
  count_cpu_memory();
  peak_bytes(6);  // what is kept for later is allocated now
  const auto few = static_cast<double>(peak_bytes(6));
  BOOST_TEST(static_cast<double>(peak_bytes(30)) < 1.02 * few);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
