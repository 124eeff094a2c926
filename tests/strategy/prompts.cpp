// SPDX-License-Identifier: Apache-2.0
// Several prompts in one video: who can take them, that each counts where it should, and that one prompt written twice
// is one. Plain loops are in the strategies' own tests.
#include "harness/options/strategies.h"
#include "strategy/denoise/denoiser.h"
#include "strategy/denoise/local_attention.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

constexpr int64_t kFrames = 13;
const TransformerConfig kConfig = with_layers(4);

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const auto& entry : strategies())
    if (entry.prompts != PromptScope::kVideo) names.push_back(entry.name);
  return names;
}

OptionValues options_of(const std::string& name) {
  if (name == "dualparal") return {{"block-frames", "3"}, {"context-frames", "2"}};
  if (name == "context_windows") return {{"window-frames", "4"}, {"overlap-frames", "1"}};
  if (name == "fifo") return {{"window-frames", "2"}};
  return {{"context-frames", "1"}, {"global-frames", "2"}};
}

at::Tensor denoise(const std::string& name, const Request& request, int64_t ranks = 3) {
  return denoise_on_ranks(find_strategy(name), options_of(name), request, ranks, kConfig);
}

BOOST_AUTO_TEST_SUITE(prompts)

BOOST_AUTO_TEST_CASE(strategies_with_blocks_clips_or_windows_take_several) {
  BOOST_TEST((names() == std::vector<std::string>{"video_infinity", "context_windows", "fifo", "dualparal"}));
}

BOOST_DATA_TEST_CASE(one_prompt_several_times_is_one_prompt, data::make(names()), name) {
  const Request one = ranks_request(kFrames);
  Request again = one;
  for (const int64_t frame : {1, 5, 9}) again.later_prompts.push_back({frame, one.prompt_embeds});
  BOOST_TEST(identical(denoise(name, again), denoise(name, one)));
}

BOOST_DATA_TEST_CASE(a_later_prompt_changes_the_end, data::make(names()), name) {
  const at::Tensor one = denoise(name, ranks_request(kFrames));
  const at::Tensor two = denoise(name, prompts_request(kFrames, {9}));
  BOOST_TEST(relative_error(two.select(2, kFrames - 1), one.select(2, kFrames - 1)) > 1e-2);
  // A prompt that nothing begins with is not seen. Windows of the queue begin with every frame.
  if (name == "fifo") return;
  BOOST_TEST(identical(denoise(name, prompts_request(kFrames, {kFrames - 1})), one));
}

// Clips that see nothing of each other: each is a video of its own, with its prompt.
BOOST_AUTO_TEST_CASE(clips_alone_are_videos_of_their_prompts) {
  Request request = prompts_request(kFrames, {2, 5, 8});
  request.initial_noise = frame_noise(request, 0, kFrames);
  const at::Tensor clips = denoise_on_ranks(find_strategy("video_infinity"),
                                            {{"context-frames", "0"}, {"global-frames", "0"}}, request, 3, kConfig);
  for (const Range& clip : even_ranges(kFrames, 3)) {
    Request alone = with_prompt_of(request, clip.begin);
    alone.latent_frames = clip.size();
    alone.initial_noise = request.initial_noise.slice(2, clip.begin, clip.end);
    const at::Tensor expected = denoise_on_ranks(find_strategy("single"), {}, alone, 1, kConfig);
    BOOST_TEST(relative_error(clips.slice(2, clip.begin, clip.end), expected) < 1e-4);
  }
}

BOOST_AUTO_TEST_CASE(a_rank_holds_the_prompts_of_its_frames) {
  const c10::InferenceMode inference;
  LargeWeights weights;
  const Transformer model(kConfig, weights, {{0, 4}, true, true});
  const Request request = prompts_request(kFrames, {4, 8});
  const Denoiser all(request, model), some(request, model, GuidanceHalves::kBatched, Range{4, 8});
  for (const auto& [frame, prompt] : {std::pair{-1, 0}, {0, 0}, {3, 0}, {4, 1}, {7, 1}, {8, 2}, {99, 2}})
    BOOST_TEST(all.prompt_at(frame) == prompt);
  const at::Tensor latents = all.noise({4, 6});
  const auto predict = [&](const Denoiser& denoiser, int64_t frame) {
    Pass pass = denoiser.pass({4, 6});
    pass.time = denoiser.time(1);
    pass.prompt = denoiser.prompt_at(frame);
    LocalAttention attention;
    return denoiser.predict(pass, latents, attention);
  };
  BOOST_TEST(identical(predict(some, 5), predict(all, 5)));
  BOOST_TEST(relative_error(predict(all, 3), predict(all, 5)) > 1e-3);
  expect_error({"prompt 0 is not held"}, [&] { predict(some, 3); });
  expect_error({"prompt 2 is not held"}, [&] { predict(some, 8); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
