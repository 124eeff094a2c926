// SPDX-License-Identifier: Apache-2.0
// An image given as the video's first latent frame: it is what the transformer sees there, with timestep 0, however the
// tokens are split, and what the finished video begins with.
#include "harness/options/strategies.h"
#include "strategy/denoise/denoiser.h"
#include "strategy/denoise/local_attention.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

constexpr int64_t kFrames = 5;  // of 6 tokens
const TransformerConfig kConfig = with_layers(4);

Request request(int64_t frames = kFrames) {
  Request request = ranks_request(frames);
  request.first_frame = randn({1, 16, 1, 4, 6}, 31);
  return request;
}

// One guided prediction by the transformer alone, told a timestep per frame.
at::Tensor plain(const Transformer& model, const Request& request, at::Tensor latents, double timestep) {
  const int64_t frames = latents.size(2);
  std::vector<double> timesteps(static_cast<size_t>(frames), timestep);
  timesteps[0] = 0;
  latents = latents.clone();
  latents.slice(2, 0, 1).copy_(request.first_frame);
  LocalAttention attention;
  at::Tensor hidden = model.embed(at::cat({latents, latents}));
  const auto time = model.time_conditioning(at::tensor(timesteps, at::kFloat));
  const TokenGrid grid = model.grid(latents.sizes());
  model.forward_layers(model.parts().layers, hidden, time, model.text_context(guidance_batch(request)),
                       model.rotary().table(grid, 0, at::kCPU), attention);
  return apply_guidance(request, model.head(hidden, time, grid));
}

BOOST_AUTO_TEST_SUITE(first_frame)

BOOST_AUTO_TEST_CASE(a_window_that_begins_the_video_is_told_of_it) {
  const c10::InferenceMode inference;
  LargeWeights weights;
  const Transformer model(kConfig, weights, {{0, 4}, true, true});
  const Request with = request();
  Request without = with;
  without.first_frame = at::Tensor();
  const Denoiser denoiser(with, model), plain_denoiser(without, model);
  const at::Tensor latents = randn({1, 16, 3, 4, 6}, 3);
  LocalAttention attention;
  Pass pass = denoiser.pass({0, 3});
  pass.time = denoiser.time(1);
  const at::Tensor expected = plain(model, with, latents, denoiser.schedule().timesteps[1]);
  BOOST_TEST(relative_error(denoiser.predict(pass, latents, attention), expected) < 1e-5);
  // Later windows are as without.
  pass.frames = {2, 5};
  Pass as_usual = plain_denoiser.pass({2, 5});
  as_usual.time = plain_denoiser.time(1);
  const at::Tensor later = denoiser.predict(pass, latents, attention);
  BOOST_TEST(identical(later, plain_denoiser.predict(as_usual, latents, attention)));
  BOOST_TEST(relative_error(later, expected) > 1e-2);
}

// Any tokens of the window: the embedding and the head are what they are in the whole.
BOOST_DATA_TEST_CASE(some_of_the_tokens, data::make({0, 0, 0, 4, 5, 6, 7}) ^ data::make({4, 6, 11, 30, 30, 30, 13}),
                     begin, end) {
  const c10::InferenceMode inference;
  LargeWeights weights;
  const Transformer model(kConfig, weights, {{0, 4}, true, true});
  const Request with = request();
  const Denoiser denoiser(with, model);
  const at::Tensor latents = denoiser.noise({0, kFrames}), hidden = randn({2, 30, 60}, 4);
  Pass whole = denoiser.pass({0, kFrames}), some = denoiser.pass({0, kFrames}, 0, Range{begin, end});
  whole.time = some.time = denoiser.time(2);
  BOOST_TEST(identical(denoiser.embed(some, latents), denoiser.embed(whole, latents).slice(1, begin, end)));
  const at::Tensor expected = denoiser.project(whole, hidden).slice(1, begin, end);
  BOOST_TEST(relative_error(denoiser.project(some, hidden.slice(1, begin, end).contiguous()), expected) < 1e-6);
}

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const auto& entry : strategies())
    if (entry.name != "single" && entry.name != "fifo") names.push_back(entry.name);
  return names;
}

OptionValues one_window(const std::string& name) {
  if (name == "dualparal") return {{"block-frames", "5"}};
  if (name == "pipefusion") return {{"synchronous-steps", "4"}};  // all: then it is a pipeline like others
  return {};
}

// A block, clip or window that is the whole video: what `single` gives. Tokens are split evenly and not.
BOOST_DATA_TEST_CASE(every_strategy_gives_what_single_gives, data::make(names()) * data::make({1, 2, 3}), name, ranks) {
  const at::Tensor expected = denoise_on_ranks(find_strategy("single"), {}, request(), 1, kConfig);
  Request without = request();
  without.first_frame = at::Tensor();
  const at::Tensor other = denoise_on_ranks(find_strategy("single"), {}, without, 1, kConfig);
  BOOST_TEST(relative_error(other.slice(2, 1), expected.slice(2, 1)) > 1e-2);
  if (name == "video_infinity" && ranks > 1) return;  // as many clips as ranks
  // Where patches have a sampler each, dualparal's noise is its own: the same for all here.
  Request with = request();
  with.initial_noise = frame_noise(with, 0, kFrames);
  BOOST_TEST(relative_error(denoise_on_ranks(find_strategy(name), one_window(name), with, ranks, kConfig), expected) <
             1e-4);
}

BOOST_DATA_TEST_CASE(stages_within_layers,
                     data::make({"naive_pipeline", "dualparal"}) *
                         data::make({"1:self:0.4,1:self:0.8", "1:cross,3:ffn:0.35", "1:ffn:0.7,2:self:0.1"}),
                     name, partition) {
  OptionValues options;
  if (std::string(name) == "dualparal") options = {{"block-frames", "3"}, {"context-frames", "2"}};
  const Request with = request(8);
  const at::Tensor alone = denoise_on_ranks(find_strategy(name), options, with, 1, kConfig);
  options["partition"] = partition;
  BOOST_TEST(relative_error(denoise_on_ranks(find_strategy(name), options, with, 3, kConfig), alone) < 1e-5);
}

BOOST_AUTO_TEST_CASE(groups_of_ranks_and_two_halves) {
  const Request with = request(8);
  const at::Tensor alone =
      denoise_on_ranks(find_strategy("dualparal"), {{"block-frames", "3"}, {"context-frames", "2"}}, with, 1, kConfig);
  for (const OptionValues& options :
       {OptionValues{{"sequence-degree", "2"}}, {{"guidance-parallel", "on"}}, {{"guidance-micro-batches", "2"}}}) {
    OptionValues all = options;
    all.insert({{"block-frames", "3"}, {"context-frames", "2"}});
    BOOST_TEST(relative_error(denoise_on_ranks(find_strategy("dualparal"), all, with, 4, kConfig), alone) < 1e-5);
  }
}

BOOST_AUTO_TEST_CASE(fifo_refuses_it) {
  expect_error<UsageError>({"fifo", "image"}, [] { plan_of(find_strategy("fifo"), {}, request(), 1, kConfig); });
}

BOOST_AUTO_TEST_CASE(the_finished_video_begins_with_it) {
  const at::Tensor all = randn({1, 16, 6, 4, 6}, 1), image = randn({1, 16, 1, 4, 6}, 2);
  CollectingSink kept, untouched;
  FirstFrameSink with(kept, image, 6), without(untouched, {}, 6);
  for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {1, 4}, {4, 6}}) {
    with.push(all.slice(2, begin, end));
    without.push(all.slice(2, begin, end));
  }
  BOOST_TEST(identical(kept.latents(), at::cat({image, all.slice(2, 1)}, 2)));
  BOOST_TEST(identical(untouched.latents(), all));
  expect_error({"first frame of [1, 16, 1, 4, 6]", "[1, 16, 2, 4, 5]"}, [&] {
    with_first_frame(at::zeros({1, 16, 2, 4, 5}), image);
  });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
