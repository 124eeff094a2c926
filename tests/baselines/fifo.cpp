// SPDX-License-Identifier: Apache-2.0
// FIFO-Diffusion against a plain loop over single frames, written from the paper.
#include "baselines/fifo.h"

#include <deque>
#include "baselines/frame_queue.h"

#include "baselines/single.h"
#include "strategy/denoise/guidance.h"
#include "strategy/denoise/local_attention.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

const TransformerConfig kConfig = with_layers(2);

OptionValues options_of(int64_t window, const std::string& lookahead) {
  return {{"window-frames", std::to_string(window)}, {"lookahead", lookahead}};
}

// The prediction for frames that are each at their own noise level.
at::Tensor predict(const Transformer& model, const Request& request, const at::Tensor& latents,
                   const std::vector<double>& timesteps) {
  const TokenGrid grid = model.grid(latents.sizes());
  const auto time = model.time_conditioning(at::tensor(timesteps, at::kFloat));
  at::Tensor hidden = model.embed(duplicate_for_guidance(request, latents));
  LocalAttention attention;
  model.forward_layers(model.parts().layers, hidden, time, model.text_context(guidance_batch(request)),
                       model.rotary().table(grid, 0, at::kCPU), attention);
  return apply_guidance(request, model.head(hidden, time, grid));
}

struct Frame {
  at::Tensor latents;  // [1, channels, 1, h, w]
  double timestep;
};

// queue[0] is the cleanest frame. Kept: the last frames of everything that leaves the queue.
at::Tensor plain(const Request& request, int64_t window, bool lookahead) {
  const c10::InferenceMode inference;
  LargeWeights weights;
  const Transformer model(kConfig, weights, {{0, kConfig.num_layers}, true, true});
  const Schedule schedule = make_schedule(request.sampler, request.scheduler, request.num_inference_steps);
  const int64_t steps = schedule.steps();
  Request opening_request = request;
  opening_request.latent_frames = window;
  opening_request.later_prompts.clear();  // all of its frames are noise of one level: a window that begins the video
  const at::Tensor opening = denoise_on_ranks(single_strategy(), {}, opening_request, 1, kConfig);

  Request fresh = request;
  fresh.seed += 0x51ed;
  const auto noised = [&](int64_t frame, int64_t level, int64_t noise) {
    const double sigma = schedule.sigmas[level];
    return opening.slice(2, frame, frame + 1) * (1 - sigma) + frame_noise(fresh, noise, noise + 1) * sigma;
  };
  const int64_t seen = lookahead ? window / 2 : 0;
  std::deque<at::Tensor> past, queue;
  for (int64_t i = 0; i < seen; ++i) past.push_back(noised(0, steps - 1, window - seen + i));
  for (int64_t i = 0; i < steps; ++i)
    queue.push_back(noised(std::max<int64_t>(0, i - (steps - window)), steps - 1 - i, window + i));

  std::vector<at::Tensor> left;
  for (int64_t iteration = 0; iteration < request.latent_frames + steps - window; ++iteration) {
    std::deque<at::Tensor> next = queue;
    for (int64_t begin = 0; begin < steps; begin += window - seen) {
      const int64_t end = std::min(steps, begin + window - seen);
      std::vector<at::Tensor> frames;
      std::vector<double> timesteps;
      for (int64_t slot = begin - seen; slot < end; ++slot) {
        frames.push_back(slot < 0 ? past[seen + slot] : queue[slot]);
        timesteps.push_back(schedule.timesteps[steps - 1 - std::max<int64_t>(0, slot)]);
      }
      const int64_t first = iteration + begin - (steps - window);  // of the video, in slot `begin`
      const at::Tensor velocity = predict(model, with_prompt_of(request, first), at::cat(frames, 2), timesteps);
      for (int64_t slot = begin; slot < end; ++slot) {
        const int64_t level = steps - 1 - slot, place = slot - begin + seen;
        next[slot] =
            queue[slot] + (schedule.sigmas[level + 1] - schedule.sigmas[level]) * velocity.slice(2, place, place + 1);
      }
    }
    queue = next;
    left.push_back(queue.front());
    past.push_back(queue.front());
    past.pop_front();
    queue.pop_front();
    queue.push_back(frame_noise(request, iteration + window, iteration + window + 1));
  }
  return at::cat(std::vector<at::Tensor>(left.end() - request.latent_frames, left.end()), 2);
}

BOOST_AUTO_TEST_SUITE(fifo)

struct Case {
  int64_t ranks, window;
  const char* lookahead;
  int64_t frames, steps;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.ranks << " ranks, window " << c.window << ", lookahead " << c.lookahead << ", " << c.frames
             << " frames, " << c.steps << " steps";
}
const Case kCases[] = {{1, 4, "on", 7, 10},  {2, 4, "on", 7, 10},  {3, 4, "on", 7, 10}, {8, 4, "on", 7, 10},
                       {1, 4, "off", 7, 10}, {3, 4, "off", 7, 10}, {3, 2, "on", 5, 4},  {2, 6, "on", 9, 7},
                       {2, 4, "on", 1, 8},   {2, 3, "off", 2, 6}};

BOOST_DATA_TEST_CASE(equals_the_plain_loop, data::make(kCases), one) {
  const Request request = ranks_request(one.frames, one.steps);
  const at::Tensor actual =
      denoise_on_ranks(fifo_strategy(), options_of(one.window, one.lookahead), request, one.ranks, kConfig);
  BOOST_TEST(actual.size(2) == one.frames);
  BOOST_TEST(relative_error(actual, plain(request, one.window, std::string(one.lookahead) == "on")) < 1e-4);
}

BOOST_DATA_TEST_CASE(several_prompts_equal_the_plain_loop, data::make(kCases), one) {
  const Request request = prompts_request(one.frames, {1, 3, 4}, one.steps);
  const at::Tensor actual =
      denoise_on_ranks(fifo_strategy(), options_of(one.window, one.lookahead), request, one.ranks, kConfig);
  BOOST_TEST(relative_error(actual, plain(request, one.window, std::string(one.lookahead) == "on")) < 1e-4);
}

BOOST_AUTO_TEST_CASE(frames_at_one_noise_level_are_what_single_computes) {
  const c10::InferenceMode inference;
  LargeWeights weights;
  const Transformer model(kConfig, weights, {{0, kConfig.num_layers}, true, true});
  const Request request = ranks_request(5);
  const at::Tensor latents = frame_noise(request, 0, 5);
  BOOST_TEST(relative_error(predict(model, request, latents, std::vector<double>(5, 700.0)),
                            predict(model, request, latents, {700.0})) < 1e-5);
}

BOOST_AUTO_TEST_CASE(windows_cover_the_queue_once) {
  for (const bool lookahead : {false, true})
    for (const auto& [steps, window] : {std::pair{20, 8}, {50, 16}, {3, 4}, {7, 6}}) {
      int64_t next = 0;
      for (const QueueWindow& one : queue_windows(steps, window, lookahead)) {
        BOOST_TEST(one.updated.begin == next);
        BOOST_TEST(one.input.end == one.updated.end);
        BOOST_TEST(one.input.size() <= window);
        BOOST_TEST(one.input.begin == one.updated.begin - (lookahead ? window / 2 : 0));
        next = one.updated.end;
      }
      BOOST_TEST(next == steps);
    }
}

BOOST_DATA_TEST_CASE(timing_changes_nothing, data::make({1, 2}), seed) {
  const Request request = ranks_request(4, 6);
  const auto run = [&](uint64_t delays) {
    return denoise_on_ranks(fifo_strategy(), options_of(4, "on"), request, 3, kConfig, at::kFloat, delays);
  };
  BOOST_TEST(run(0).equal(run(seed)));
}

BOOST_DATA_TEST_CASE(sends_what_the_formula_says, data::make({2, 4, 8}), ranks) {
  const Request request = ranks_request(6, 10);
  int64_t sent = 0;
  denoise_on_ranks(fifo_strategy(), options_of(4, "on"), request, ranks, kConfig, at::kFloat, 0, &sent);
  const AnalyticCost cost = cost_of(fifo_strategy(), options_of(4, "on"), request, ranks, kConfig);
  BOOST_TEST(static_cast<double>(sent) == cost.sent_bytes, boost::test_tools::tolerance(0.01));
}

BOOST_AUTO_TEST_CASE(odd_windows_cannot_look_ahead) {
  expect_error<UsageError>({"--window-frames 5", "even"}, [] {
    const auto entry = fifo_strategy();
    entry.make(resolve_options(entry.name, entry.options, options_of(5, "on")));
  });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
