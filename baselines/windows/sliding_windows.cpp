// SPDX-License-Identifier: Apache-2.0
#include "baselines/windows/sliding_windows.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <numeric>

namespace dualparal {
namespace {

constexpr uint64_t kShuffleStream = 0x46524545ull;  // apart from the streams of the frames' noise

// Not yet divided by the sum over all windows.
double weight_of(int64_t frame, const Range& window, int64_t frames, WindowWeights kind, int64_t overlap_frames) {
  const int64_t from_begin = frame - window.begin + 1, from_end = window.end - frame;
  const auto ramp = static_cast<double>(overlap_frames + 1);
  double weight = 1;
  switch (kind) {
    case WindowWeights::kFlat:
      break;
    case WindowWeights::kPyramid:
      weight = static_cast<double>(std::min(from_begin, from_end));
      break;
    case WindowWeights::kLinear:
      if (window.begin > 0) weight = std::min(weight, static_cast<double>(from_begin) / ramp);
      if (window.end < frames) weight = std::min(weight, static_cast<double>(from_end) / ramp);
  }
  return weight;
}

}  // namespace

std::vector<Range> sliding_windows(int64_t frames, int64_t window_frames, int64_t overlap_frames) {
  const int64_t size = std::min(window_frames, frames);
  std::vector<Range> windows;
  for (int64_t begin = 0; begin + size < frames; begin += window_frames - overlap_frames)
    windows.push_back({begin, begin + size});
  windows.push_back({frames - size, frames});
  return windows;
}

std::vector<std::vector<double>> window_weights(const std::vector<Range>& windows, WindowWeights kind,
                                                int64_t overlap_frames) {
  const int64_t frames = windows.back().end;
  std::vector<std::vector<double>> weights;
  std::vector<double> sum(frames, 0.0);
  for (const Range& window : windows) {
    auto& own = weights.emplace_back();
    for (int64_t frame = window.begin; frame < window.end; ++frame) {
      own.push_back(weight_of(frame, window, frames, kind, overlap_frames));
      sum[frame] += own.back();
    }
  }
  for (size_t w = 0; w < windows.size(); ++w)
    for (int64_t i = 0; i < windows[w].size(); ++i) weights[w][i] /= sum[windows[w].begin + i];
  return weights;
}

std::vector<int64_t> free_noise_frames(int64_t frames, int64_t window_frames, int64_t overlap_frames, uint64_t seed) {
  std::vector<int64_t> source(frames);
  std::iota(source.begin(), source.end(), 0);
  const auto generator = at::detail::createCPUGenerator(seed ^ (kShuffleStream << 32));
  const int64_t stride = window_frames - overlap_frames;
  for (int64_t begin = 0; begin + window_frames < frames; begin += stride) {
    const int64_t target = begin + window_frames, count = std::min(stride, frames - target);
    const at::Tensor order = at::randperm(count, generator);
    for (int64_t i = 0; i < count; ++i) source[target + i] = source[begin + order[i].item<int64_t>()];
  }
  return source;
}

std::vector<RankWindows> deal_windows(const std::vector<Range>& windows, int64_t ranks, int64_t seen_before) {
  std::vector<RankWindows> dealt;
  for (const Range& own : even_ranges(static_cast<int64_t>(windows.size()), ranks)) {
    RankWindows& rank = dealt.emplace_back();
    rank.windows = own;
    if (own.size() == 0) continue;  // more ranks than windows
    rank.predicted = {windows[own.begin].begin, windows[own.end - 1].end};
    rank.held = {std::max<int64_t>(0, rank.predicted.begin - seen_before), rank.predicted.end};
  }
  return dealt;
}

Range finished_by(const std::vector<RankWindows>& dealt, int64_t rank) {
  const Range& own = dealt[rank].predicted;
  return own.size() == 0 ? Range{} : Range{dealt[rank - 1].predicted.end, own.end};
}

}  // namespace dualparal
