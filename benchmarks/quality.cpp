// SPDX-License-Identifier: Apache-2.0
// What the quality metrics cost, to be held against VaeDecode (micro.cpp) at the same number of frames:
//   build/benchmarks/micro_benchmarks --benchmark_filter='VaeDecode/frames:129|QualityMetrics'
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <cmath>

#include "harness/metrics/quality.h"

namespace dualparal {
namespace {

/// A red disc that goes to and fro over grey, with a little noise: [frames, height, width, 3] uint8.
at::Tensor moving_disc(int64_t frames, int64_t height, int64_t width) {
  const at::Tensor rows = at::arange(height, at::kFloat).view({-1, 1}), columns = at::arange(width, at::kFloat);
  const at::Tensor red = at::tensor({220.0, 40.0, 40.0}), grey = at::tensor({95.0, 95.0, 95.0});
  std::vector<at::Tensor> video;
  for (int64_t i = 0; i < frames; ++i) {
    const double swing = 0.3 * std::sin(0.1 * static_cast<double>(i));
    const at::Tensor squared = (rows - static_cast<double>(height) * (0.5 + swing / 2)).square() +
                               (columns - static_cast<double>(width) * (0.5 + swing)).square();
    const at::Tensor inside = (squared < static_cast<double>(height * height) / 36).unsqueeze(-1);
    video.push_back((at::where(inside, red, grey) + at::randn({height, width, 3})).round().clamp(0, 255).to(at::kByte));
  }
  return at::stack(video);
}

// Pushed eight frames at a time, as decoding two latent frames gives them.
void QualityMetrics(benchmark::State& state) {
  const c10::InferenceMode inference;
  const int64_t frames = state.range(0), height = state.range(1), width = state.range(2);
  const at::Tensor video = moving_disc(frames, height, width);
  for (auto _ : state) {
    QualityMeter meter({.frames = frames,
                        .latent_frames = (frames + 2) / 4 + 1,
                        .block_starts = {0, 8},
                        .prompt = "a red circle moves over a grey background",
                        .content = height == 64});
    for (int64_t i = 0; i < frames; i += 8) meter.push_frames(video.narrow(0, i, std::min<int64_t>(8, frames - i)));
    benchmark::DoNotOptimize(meter.result());
  }
  state.counters["frames/s"] =
      benchmark::Counter(static_cast<double>(frames), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(QualityMetrics)
    ->ArgNames({"frames", "height", "width"})
    ->Args({129, 64, 96})
    ->Args({1025, 64, 96})
    ->Args({65, 480, 832})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace dualparal
