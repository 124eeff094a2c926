// SPDX-License-Identifier: Apache-2.0
#include "strategy/parallel/pipeline_traffic.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "base/errors.h"

namespace dualparal {

namespace {

class Messages {
 public:
  Messages(const Workload& work, const StageGrid& grid, const std::vector<TransformerParts>& stages)
      : work_(work),
        grid_(grid),
        stages_(stages),
        heads_(even_ranges(work.config.num_attention_heads, grid.sequence)),
        bytes_(static_cast<size_t>(grid.ranks()) * static_cast<size_t>(grid.ranks())) {}

  /// `count` jobs that are alike.
  void add(const StageJob& job, double count) {
    count_ = count;
    const auto split = grid_.split(job.frames * work_.frame_tokens);
    check_usage(split.back().size() > 0,
                "--sequence-degree {}: a window of {} tokens cannot be split over so many ranks", grid_.sequence,
                job.frames * work_.frame_tokens);
    check_shared(split);
    for (int64_t rank = 0; rank < grid_.ranks(); ++rank) {
      const auto place = grid_.place(rank);
      const LayerRange& layers = stages_.at(place.stage).layers;
      const int64_t own = split.at(place.index).size();
      if (place.stage + 1 < grid_.stages)
        hidden(rank, grid_.rank({place.half, place.stage + 1, place.index}), own + layers.carried_out(own));
      else
        prediction(rank, job, split.at(place.index));
      for (int64_t layer = layers.begin; layer < layers.end; ++layer)
        for (int64_t other = 0; other < grid_.sequence; ++other)
          if (other != place.index) within(rank, place, layers, layer, split, other);
    }
  }

  std::vector<Traffic> traffic() const {
    std::vector<Traffic> out;
    for (int64_t from = 0; from < grid_.ranks(); ++from)
      for (int64_t to = 0; to < grid_.ranks(); ++to)
        for (const Channel channel : {Channel::kForward, Channel::kReturn})
          if (const double bytes = at(from, to).at(channel == Channel::kReturn ? 1 : 0); bytes > 0)
            out.push_back({{from, to, channel}, bytes});
    return out;
  }

 private:
  // All ranks of a group take part in a layer's self-attention, or none: with so few tokens that a shared one has
  // queries on some of them only, those would wait for the others for ever. So do all windows, or none: with no queries
  // in one, its keys and values would not be there for the others.
  void check_shared(const std::vector<Range>& split) {
    for (size_t stage = 0; stage < stages_.size(); ++stage) {
      const TransformerParts& parts = stages_[stage];
      for (const int64_t layer : {parts.layers.begin, parts.layers.end - 1}) {
        const auto attends = [&](const Range& tokens) {
          return parts.layers.share(layer, tokens.size())[kSelfAttention].size() > 0;
        };
        const auto count = std::ranges::count_if(split, attends);
        check_usage(count == 0 || count == grid_.sequence,
                    "--partition: of layer {}'s self-attention a stage's share of {} tokens is none on some of its {} "
                    "ranks (--sequence-degree); share more of it, or nothing",
                    layer, split.back().end, grid_.sequence);
        const bool first = attends_.try_emplace({stage, layer}, count > 0).first->second;
        check_usage(
            first == (count > 0),
            "--partition: of layer {}'s self-attention a stage has a share in some windows and none in others (one has "
            "{} tokens); share more of it, or nothing",
            layer, split.back().end);
      }
    }
  }

  using Bytes = std::array<double, 2>;  // by channel
  Bytes& at(int64_t from, int64_t to) { return bytes_.at(static_cast<size_t>(from * grid_.ranks() + to)); }
  const Bytes& at(int64_t from, int64_t to) const { return bytes_.at(static_cast<size_t>(from * grid_.ranks() + to)); }

  void hidden(int64_t from, int64_t to, int64_t tokens) {
    at(from, to)[0] += count_ * work_.hidden_bytes(static_cast<double>(tokens)) / static_cast<double>(grid_.halves);
  }

  // Queries, keys and values of the other rank's heads, and the other's tokens of what comes of one's own.
  void within(int64_t rank, const StageGrid::Place& place, const LayerRange& layers, int64_t layer,
              const std::vector<Range>& split, int64_t other) {
    const int64_t tokens = split.at(place.index).size();
    const int64_t queries = layers.share(layer, tokens)[kSelfAttention].size();
    const int64_t theirs = layers.share(layer, split.at(other).size())[kSelfAttention].size();
    if (queries == 0 && theirs == 0) return;
    const auto width = [&](int64_t index) {
      return static_cast<double>(heads_.at(index).size()) / static_cast<double>(work_.config.num_attention_heads);
    };
    const double numbers =
        static_cast<double>(queries + 2 * tokens) * width(other) + static_cast<double>(theirs) * width(place.index);
    at(rank, grid_.rank({place.half, place.stage, other}))[0] +=
        count_ * work_.hidden_bytes(numbers) / static_cast<double>(grid_.halves);
  }

  void prediction(int64_t rank, const StageJob& job, const Range& own) {
    const Range kept = intersection(own, {job.keep_begin * work_.frame_tokens, job.keep_end * work_.frame_tokens});
    const double number_bytes = grid_.halves > 1 ? static_cast<double>(work_.element_bytes) : 4;
    for (const int64_t to : grid_.samplers())
      if (to != rank)
        at(rank, to)[1] += count_ * number_bytes * static_cast<double>(work_.patch_channels * kept.size());
  }

  const Workload& work_;
  const StageGrid& grid_;
  const std::vector<TransformerParts>& stages_;
  std::vector<Range> heads_;
  std::vector<Bytes> bytes_;
  std::map<std::pair<size_t, int64_t>, bool> attends_;  // by stage and layer, in the first window
  double count_ = 1;                                    // of the jobs being added
};

}  // namespace

std::vector<Traffic> pipeline_traffic(const Workload& work, const StageGrid& grid,
                                      const std::vector<TransformerParts>& stages, const std::vector<StageJob>& jobs) {
  Messages messages(work, grid, stages);
  // A long video has tens of thousands of jobs of a few kinds: only the window's frames matter, and those kept.
  std::map<std::array<int64_t, 3>, double> kinds;
  for (const StageJob& job : jobs) ++kinds[{job.frames, job.keep_begin, job.keep_end}];
  for (const auto& [kind, count] : kinds)
    messages.add({.frames = kind[0], .keep_begin = kind[1], .keep_end = kind[2]}, count);
  return messages.traffic();
}

TypicalWindow typical_window(const Workload& work, const std::vector<StageJob>& jobs,
                             const std::vector<int64_t>& cached) {
  double tokens = 0, pairs = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const auto window = static_cast<double>(jobs[i].frames * work.frame_tokens);
    tokens += window;
    pairs += window * (window + static_cast<double>(cached.empty() ? 0 : cached[i] * work.frame_tokens));
  }
  return {std::llround(tokens / static_cast<double>(jobs.size())), std::llround(pairs / tokens)};
}

}  // namespace dualparal
