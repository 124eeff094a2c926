// SPDX-License-Identifier: Apache-2.0
// Sliding context windows against a plain loop over windows and frames.
#include "baselines/windows/context_windows.h"

#include "baselines/single.h"
#include "baselines/windows/sliding_windows.h"
#include "strategy/denoise/guidance.h"
#include "strategy/denoise/local_attention.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

const TransformerConfig kConfig = with_layers(2);

struct Case {
  int64_t window, overlap;
  const char *weights, *fix, *noise;
  int64_t frames;

  OptionValues options(const char* micro_batches = "1") const {
    return {{"window-frames", std::to_string(window)},
            {"overlap-frames", std::to_string(overlap)},
            {"window-weights", weights},
            {"first-frame-fix", fix},
            {"free-noise", noise},
            {"guidance-micro-batches", micro_batches}};
  }
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << "windows of " << c.window << " overlapping by " << c.overlap << ", weights " << c.weights << ", fix "
             << c.fix << ", FreeNoise " << c.noise << ", " << c.frames << " frames";
}
// A last window that is moved back, frames in three windows and more, windows that do not overlap.
const Case kCases[] = {{5, 2, "pyramid", "on", "off", 14}, {5, 2, "flat", "off", "on", 12},
                       {6, 2, "linear", "on", "on", 13},   {4, 3, "pyramid", "on", "off", 9},
                       {3, 0, "flat", "on", "off", 8},     {5, 4, "linear", "off", "off", 10}};

at::Tensor run(const Case& one, int64_t ranks, const char* micro_batches = "1", uint64_t delays = 0) {
  return denoise_on_ranks(context_windows_strategy(), one.options(micro_batches), ranks_request(one.frames), ranks,
                          kConfig, at::kFloat, delays);
}

// The guided prediction of frames [first, end) of the latents, seen for themselves.
at::Tensor predict(const Transformer& model, const Request& request, const at::Tensor& latents, double timestep,
                   int64_t first, int64_t end) {
  const at::Tensor input = latents.slice(2, first, end);
  const TokenGrid grid = model.grid(input.sizes());
  const auto time = model.time_conditioning(at::full({1}, timestep));
  at::Tensor hidden = model.embed(duplicate_for_guidance(request, input));
  LocalAttention attention;
  model.forward_layers(model.parts().layers, hidden, time, model.text_context(guidance_batch(request)),
                       model.rotary().table(grid, 0, at::kCPU), attention);
  return apply_guidance(request, model.head(hidden, time, grid));
}

// Of frame i of a window of n: how much it counts.
double weight(const Case& one, int64_t i, int64_t n, bool first, bool last) {
  const std::string kind = one.weights;
  if (kind == "flat") return 1;
  if (kind == "pyramid") return static_cast<double>(i < n - i ? i + 1 : n - i);
  double result = 1;
  if (!first && i < one.overlap) result = (i + 1.0) / (one.overlap + 1.0);
  if (!last && n - 1 - i < one.overlap) result = std::min(result, static_cast<double>(n - i) / (one.overlap + 1.0));
  return result;
}

at::Tensor plain(const Case& one, const at::Tensor& noise, const Request& request) {
  const c10::InferenceMode inference;
  LargeWeights weights;
  const Transformer model(kConfig, weights, {{0, kConfig.num_layers}, true, true});
  const Schedule schedule = make_schedule(request.sampler, request.scheduler, request.num_inference_steps);
  const auto sampler = make_sampler(request.sampler, request.scheduler, schedule);
  std::vector<int64_t> begins;
  for (int64_t begin = 0;; begin += one.window - one.overlap) {
    begins.push_back(std::min(begin, one.frames - one.window));
    if (begin + one.window >= one.frames) break;
  }
  at::Tensor latents = noise.clone();
  for (int64_t step = 0; step < schedule.steps(); ++step) {
    at::Tensor sum = at::zeros_like(latents);
    std::vector<double> total(one.frames, 0.0);
    for (const int64_t begin : begins) {
      const bool fixed = std::string(one.fix) == "on" && begin > 0;
      at::Tensor window = predict(model, with_prompt_of(request, begin), latents, schedule.timesteps[step],
                                  begin - (fixed ? 1 : 0), begin + one.window);
      if (fixed) window = window.slice(2, 1);
      for (int64_t i = 0; i < one.window; ++i) {
        const double w = weight(one, i, one.window, begin == 0, begin + one.window == one.frames);
        sum.select(2, begin + i).add_(window.select(2, i) * w);
        total[begin + i] += w;
      }
    }
    for (int64_t frame = 0; frame < one.frames; ++frame) sum.select(2, frame).div_(total[frame]);
    latents = sampler->step(sum, latents);
  }
  return latents;
}

BOOST_AUTO_TEST_SUITE(context_windows)

BOOST_DATA_TEST_CASE(equals_the_plain_loop, data::make(kCases), one) {
  const auto entry = context_windows_strategy();
  const at::Tensor noise =
      entry.make(resolve_options(entry.name, entry.options, one.options()))->initial_noise(ranks_request(one.frames));
  BOOST_TEST(relative_error(run(one, 1), plain(one, noise, ranks_request(one.frames))) < 1e-5);
}

BOOST_DATA_TEST_CASE(several_prompts_equal_the_plain_loop, data::make(kCases) * data::make({1, 3}), one, ranks) {
  const Request request = prompts_request(one.frames, {2, 4, 5});
  const auto entry = context_windows_strategy();
  const at::Tensor noise =
      entry.make(resolve_options(entry.name, entry.options, one.options()))->initial_noise(request);
  const at::Tensor actual = denoise_on_ranks(entry, one.options(), request, ranks, kConfig);
  BOOST_TEST(relative_error(actual, plain(one, noise, request)) < 1e-5);
}

BOOST_DATA_TEST_CASE(same_latents_on_any_number_of_ranks, data::make(kCases) * data::make({2, 3, 4, 8}), one, ranks) {
  BOOST_TEST(relative_error(run(one, ranks), run(one, 1)) < 1e-5);
}

BOOST_DATA_TEST_CASE(micro_batches_change_nothing, data::make({1, 3}), ranks) {
  BOOST_TEST(relative_error(run(kCases[0], ranks, "2"), run(kCases[0], 1)) < 1e-5);
}

BOOST_DATA_TEST_CASE(timing_changes_nothing, data::make({1, 2}), seed) {
  BOOST_TEST(identical(run(kCases[3], 3, "1", seed), run(kCases[3], 3)));
}

BOOST_DATA_TEST_CASE(one_window_is_single, data::make({"flat", "pyramid", "linear"}) * data::make({5, 8}), weights,
                     window) {
  const Case one{window, 2, weights, "on", "on", 5};
  BOOST_TEST(identical(run(one, 1), denoise_on_ranks(single_strategy(), {}, ranks_request(5), 1, kConfig)));
  BOOST_TEST(identical(run(one, 3), run(one, 1)));
}

BOOST_AUTO_TEST_CASE(every_option_matters) {
  // Else the comparisons above would hold for a program that does not know the difference.
  const Case base{5, 2, "pyramid", "on", "off", 13};
  for (const Case& other : {Case{5, 2, "flat", "on", "off", 13}, Case{5, 2, "pyramid", "off", "off", 13},
                            Case{5, 2, "pyramid", "on", "on", 13}, Case{5, 1, "pyramid", "on", "off", 13},
                            Case{6, 2, "pyramid", "on", "off", 13}})
    BOOST_TEST(relative_error(run(other, 1), run(base, 1)) > 1e-3);
  // Linear weights are the pyramid's where windows overlap by no more than they should; the last one does here.
  BOOST_TEST(relative_error(run({8, 1, "linear", "on", "off", 17}, 1), run({8, 1, "pyramid", "on", "off", 17}, 1)) >
             1e-4);
}

BOOST_DATA_TEST_CASE(sends_what_the_formula_says, data::make(kCases) * data::make({1, 2, 4, 8}), one, ranks) {
  const auto entry = context_windows_strategy();
  int64_t sent = 0;
  denoise_on_ranks(entry, one.options(), ranks_request(one.frames), ranks, kConfig, at::kFloat, 0, &sent);
  const AnalyticCost cost = cost_of(entry, one.options(), ranks_request(one.frames), ranks, kConfig);
  BOOST_TEST(static_cast<double>(sent) == cost.sent_bytes);
}

BOOST_AUTO_TEST_CASE(windows_cover_the_video_and_end_with_it) {
  for (const auto& [frames, window, overlap] :
       {std::tuple{257, 21, 4}, {21, 21, 4}, {22, 21, 4}, {7, 21, 4}, {1, 1, 0}, {9, 4, 3}, {38, 21, 4}}) {
    const auto windows = sliding_windows(frames, window, overlap);
    BOOST_TEST(windows.front().begin == 0);
    BOOST_TEST(windows.back().end == frames);
    for (size_t w = 0; w < windows.size(); ++w) {
      BOOST_TEST(windows[w].size() == std::min(window, frames));
      if (w == 0) continue;
      BOOST_TEST(windows[w].begin > windows[w - 1].begin);
      BOOST_TEST(windows[w - 1].end - windows[w].begin >= overlap);
      if (w + 1 < windows.size()) BOOST_TEST(windows[w - 1].end - windows[w].begin == overlap);
    }
  }
  BOOST_TEST(sliding_windows(257, 21, 4).size() == 15u);
  BOOST_TEST(sliding_windows(38, 21, 4).size() == 2u);
}

BOOST_AUTO_TEST_CASE(weights_of_a_frame_add_up_to_one) {
  for (const WindowWeights kind : {WindowWeights::kFlat, WindowWeights::kPyramid, WindowWeights::kLinear})
    for (const auto& [frames, window, overlap] : {std::tuple{257, 21, 4}, {22, 21, 4}, {9, 4, 3}, {8, 3, 0}}) {
      const auto windows = sliding_windows(frames, window, overlap);
      const auto weights = window_weights(windows, kind, overlap);
      std::vector<double> sum(frames, 0.0);
      for (size_t w = 0; w < windows.size(); ++w)
        for (int64_t i = 0; i < windows[w].size(); ++i) {
          BOOST_TEST(weights[w][i] > 0);
          sum[windows[w].begin + i] += weights[w][i];
        }
      for (const double one : sum) BOOST_TEST(one == 1, boost::test_tools::tolerance(1e-12));
    }
}

BOOST_AUTO_TEST_CASE(free_noise_is_its_definition) {
  const Case one{6, 2, "pyramid", "on", "on", 17};  // runs of 4 frames; the last one has 3
  const auto entry = context_windows_strategy();
  const auto strategy = entry.make(resolve_options(entry.name, entry.options, one.options()));
  const Request request = ranks_request(one.frames);
  const at::Tensor noise = strategy->initial_noise(request);
  BOOST_TEST(identical(noise.slice(2, 0, 6), frame_noise(request, 0, 6)));
  bool shuffled = false;
  for (int64_t begin = 0; begin + 6 < one.frames; begin += 4) {
    const int64_t end = std::min(one.frames, begin + 10);
    std::vector<bool> used(4, false);
    for (int64_t frame = begin + 6; frame < end; ++frame) {
      int64_t found = -1;
      for (int64_t i = 0; i < end - begin - 6; ++i)
        if (at::equal(noise.select(2, frame), noise.select(2, begin + i))) found = i;
      BOOST_REQUIRE(found >= 0);
      BOOST_TEST(!used[found]);
      used[found] = true;
      shuffled = shuffled || found != frame - begin - 6;
    }
  }
  BOOST_TEST(shuffled);
  Request other = request;
  other.seed += 1;
  BOOST_TEST((free_noise_frames(17, 6, 2, request.seed) != free_noise_frames(17, 6, 2, other.seed)));
  other = request;
  other.initial_noise = randn({1, 16, 17, 4, 6}, 3);
  BOOST_TEST(identical(strategy->initial_noise(other), other.initial_noise));
}

BOOST_AUTO_TEST_CASE(windows_that_do_not_move_on_are_refused) {
  const auto entry = context_windows_strategy();
  expect_error<UsageError>({"--overlap-frames 5", "--window-frames", "4 at most"}, [&] {
    entry.make(resolve_options(entry.name, entry.options, {{"window-frames", "5"}, {"overlap-frames", "5"}}));
  });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
