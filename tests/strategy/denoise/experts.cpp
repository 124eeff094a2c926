// SPDX-License-Identifier: Apache-2.0
// Two experts: who predicts at which step, with which guidance scale, and windows with frames of both.
#include "strategy/denoise/experts.h"

#include "strategy/denoise/denoiser.h"
#include "strategy/denoise/local_attention.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

constexpr int64_t kFrames = 3;
const TransformerConfig kConfig = with_layers(2);

struct Two {
  LargeWeights first_weights, others = second_weights();
  Transformer first{kConfig, first_weights, {{0, 2}, true, true}}, second{kConfig, others, {{0, 2}, true, true}};
};

// What an expert predicts of the frames at these timesteps, guided.
at::Tensor plain(const Request& request, const Transformer& model, const std::vector<double>& timesteps,
                 const at::Tensor& latents, double scale) {
  LocalAttention attention;
  at::Tensor hidden = model.embed(at::cat({latents, latents}));
  const auto time = model.time_conditioning(at::tensor(timesteps, at::kFloat));
  const TokenGrid grid = model.grid(latents.sizes());
  model.forward_layers({0, 2}, hidden, time, model.text_context(guidance_batch(request)),
                       model.rotary().table(grid, 0, at::kCPU), attention);
  const at::Tensor both = model.head(hidden, time, grid);
  return (both[1] + scale * (both[0] - both[1])).unsqueeze(0);
}

BOOST_AUTO_TEST_SUITE(experts)

BOOST_AUTO_TEST_CASE(each_step_has_its_expert_and_scale) {
  const c10::InferenceMode inference;
  const Two two;
  const Request request = experts_request(kFrames, 6);
  const Denoiser denoiser(request, {two.first, two.second});
  const at::Tensor latents = randn({1, 16, kFrames, 4, 6}, 3);
  LocalAttention attention;
  for (int64_t step = 0; step < 6; ++step) {
    Pass pass = denoiser.pass({0, kFrames});
    pass.time = denoiser.time(step);
    BOOST_TEST(pass.time.expert() == (step < 3 ? 0 : 1));
    const at::Tensor expected = plain(request, step < 3 ? two.first : two.second, {denoiser.schedule().timesteps[step]},
                                      latents, step < 3 ? 3.0 : 1.5);
    BOOST_TEST(relative_error(denoiser.predict(pass, latents, attention), expected) < 1e-5);
  }
  BOOST_TEST(second_expert_from(request, denoiser.schedule()) == 3);
}

BOOST_AUTO_TEST_CASE(a_window_with_frames_of_both) {
  const c10::InferenceMode inference;
  const Two two;
  const Request request = experts_request(kFrames, 6);
  const Denoiser denoiser(request, {two.first, two.second});
  const at::Tensor latents = randn({1, 16, kFrames, 4, 6}, 3);
  const std::vector<int64_t> steps{4, 3, 2};  // a queue's cleaner frames come first
  Pass pass = denoiser.pass({0, kFrames});
  pass.time = denoiser.time(steps);
  BOOST_TEST(pass.time.mixed());
  std::vector<double> timesteps;
  for (const int64_t step : steps) timesteps.push_back(denoiser.schedule().timesteps[step]);
  LocalAttention attention;
  const at::Tensor actual = denoiser.predict(pass, latents, attention);
  const at::Tensor low = plain(request, two.second, timesteps, latents, 1.5);
  const at::Tensor high = plain(request, two.first, timesteps, latents, 3.0);
  BOOST_TEST(relative_error(actual, at::cat({low.slice(2, 0, 2), high.slice(2, 2)}, 2)) < 1e-5);
  expect_error({"both experts"}, [&] { denoiser.embed(pass, latents); });
}

BOOST_AUTO_TEST_CASE(models_and_requests_must_agree) {
  const c10::InferenceMode inference;
  const Two two;
  const Request one = ranks_request(kFrames), both = experts_request(kFrames);
  expect_error({"1 transformer", "2 expert"}, [&] { Denoiser(both, two.first); });
  expect_error({"2 transformer", "1 expert"}, [&] { Denoiser(one, {two.first, two.second}); });
  LargeWeights weights;
  auto config = kConfig;
  config.eps = 1e-5;
  const Transformer other(config, weights, {{0, 2}, true, true});
  expect_error({"configurations differ"}, [&] { Experts(two.first, other); });
}

BOOST_AUTO_TEST_CASE(weights_and_steps_are_counted) {
  const Request one = ranks_request(kFrames, 6), both = experts_request(kFrames, 6);
  const Workload alone = workload(one, kConfig, 4, 1), two = workload(both, kConfig, 4, 1);
  BOOST_TEST(two.weights_bytes({0, 2}) == 2 * alone.weights_bytes({0, 2}));
  BOOST_TEST(alone.features_change_at == 6);
  BOOST_TEST(two.features_change_at == 3);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
