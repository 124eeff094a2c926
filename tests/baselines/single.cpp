// SPDX-License-Identifier: Apache-2.0
#include "baselines/single.h"

#include "strategy/denoise/local_attention.h"
#include "strategy/denoise/noise.h"
#include "tests/model/tiny.h"

namespace dualparal::testing {
namespace {

using Done = std::vector<std::pair<int64_t, int64_t>>;

Request tiny_request(double guidance_scale, SamplerKind sampler = SamplerKind::kUniPC) {
  Request request;
  request.latent_frames = 3;
  request.latent_height = 4;
  request.latent_width = 6;
  request.sampler = sampler;
  request.num_inference_steps = 4;
  request.guidance_scale = guidance_scale;
  request.prompt_embeds = randn({1, 7, 24}, 1);
  request.negative_prompt_embeds = randn({1, 7, 24}, 2);
  request.seed = 5;
  return request;
}

const Transformer& model() {
  static const auto whole = [] {
    LargeWeights weights;
    const auto parts = whole_model(workload(tiny_request(1), tiny_transformer(), 4, 1)).at(0);
    return std::make_unique<Transformer>(tiny_transformer(), weights, parts);
  }();
  return *whole;
}

at::Tensor denoise(const Request& request, Done* done = nullptr) {
  const auto comm = lone_communicator();
  Recorder recorder(at::kCPU);
  CollectingSink sink;
  DenoiseContext context{request, model(), *comm, recorder, sink};
  if (done) context.progress = [done](int64_t step, int64_t total) { done->emplace_back(step, total); };
  single_strategy().make({{"guidance-micro-batches", "1"}})->denoise(context);
  return sink.latents();
}

// The model's prediction for one prompt alone.
at::Tensor predict(const at::Tensor& latents, const at::Tensor& prompt_embeds, double timestep) {
  const TokenGrid grid{3, 2, 3};
  const auto time = model().time_conditioning(at::full({1}, timestep));
  LocalAttention attention;
  at::Tensor hidden = model().embed(latents);
  model().forward_layers({0, 5}, hidden, time, model().text_context(prompt_embeds),
                         model().rotary().table(grid, 0, at::kCPU), attention);
  return model().head(hidden, time, grid);
}

at::Tensor plain_loop(const Request& request) {
  const Schedule schedule = make_schedule(request.sampler, request.scheduler, request.num_inference_steps);
  const auto sampler = make_sampler(request.sampler, request.scheduler, schedule);
  at::Tensor latents = frame_noise(request, 0, request.latent_frames);
  for (const double timestep : schedule.timesteps) {
    at::Tensor prediction = predict(latents, request.prompt_embeds, timestep);
    if (request.guidance_scale > 1) {
      const at::Tensor negative = predict(latents, request.negative_prompt_embeds, timestep);
      prediction = negative + request.guidance_scale * (prediction - negative);
    }
    latents = sampler->step(prediction, latents);
  }
  return latents;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(baselines_single)

BOOST_DATA_TEST_CASE(it_is_the_plain_loop, data::make({"unipc", "euler"}) * data::make({1.0, 4.0}), sampler, scale) {
  const Request request = tiny_request(scale, parse_sampler(sampler));
  const at::Tensor latents = denoise(request);
  BOOST_TEST((latents.scalar_type() == at::kFloat));
  BOOST_TEST(relative_error(latents, plain_loop(request)) < 1e-4);
}

BOOST_AUTO_TEST_CASE(the_same_request_gives_the_same_bits) {
  const at::Tensor latents = denoise(tiny_request(4));
  BOOST_TEST(identical(denoise(tiny_request(4)), latents));
  Request other = tiny_request(4);
  other.seed = 6;
  BOOST_TEST(relative_error(denoise(other), latents) > 0.1);
  other = tiny_request(4);
  other.prompt_embeds = randn({1, 7, 24}, 3);
  BOOST_TEST(relative_error(denoise(other), latents) > 1e-3);
}

BOOST_AUTO_TEST_CASE(given_noise_takes_the_seeds_place) {
  Request request = tiny_request(4), given = request;
  given.initial_noise = single_strategy().make({{"guidance-micro-batches", "1"}})->initial_noise(request);
  given.seed = 6;
  BOOST_TEST(identical(denoise(given), denoise(request)));
}

BOOST_AUTO_TEST_CASE(every_step_is_reported) {
  Done done;
  denoise(tiny_request(1), &done);
  BOOST_TEST((done == Done{{1, 4}, {2, 4}, {3, 4}, {4, 4}}));
}

BOOST_AUTO_TEST_CASE(one_rank_holds_everything_and_there_is_no_second) {
  BOOST_TEST(single_strategy().name == "single");
  const auto plan = [](int64_t ranks) {
    return single_strategy().make({{"guidance-micro-batches", "1"}})->plan(workload(tiny_request(1), tiny_transformer(), 4, ranks));
  };
  const TransformerParts parts = plan(1).parts.at(0);
  BOOST_TEST(parts.layers.begin == 0);
  BOOST_TEST(parts.layers.end == 5);
  BOOST_TEST((parts.embed && parts.head));
  BOOST_TEST(plan(1).block_starts.empty());
  expect_error<UsageError>({"'single'", "got 2", "--nproc 1"}, [&] { plan(2); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
