// SPDX-License-Identifier: Apache-2.0
// A pipeline whose stages are groups of ranks: the ranks of a group hold the same layers and split every window's
// tokens. With guidance groups there are two such pipelines, one for each half of classifier-free guidance.
#pragma once

#include <vector>

#include "strategy/denoise/guidance.h"
#include "strategy/parallel/ranges.h"
#include "strategy/plan.h"

namespace dualparal {

struct StageGrid {
  int64_t halves = 1, stages = 1, sequence = 1;

  struct Place {
    int64_t half = 0, stage = 0, index = 0;
  };

  int64_t ranks() const { return halves * stages * sequence; }
  /// Neighbouring ranks share a stage: where links are fastest.
  int64_t rank(const Place& place) const { return (place.half * stages + place.stage) * sequence + place.index; }
  Place place(int64_t rank) const { return {rank / sequence / stages, rank / sequence % stages, rank % sequence}; }
  /// The ranks of a stage.
  std::vector<int64_t> group(const Place& place) const;
  /// The ranks of the first stage, of all halves: each takes the sampler's steps for itself.
  std::vector<int64_t> samplers() const;
  /// Which of a window's tokens each rank of a stage processes.
  std::vector<Range> split(int64_t tokens) const { return even_ranges(tokens, sequence); }

  /// How much of a window's keys and values a rank holds at most: its heads', of its half.
  double share_of_keys(int64_t heads) const {
    return static_cast<double>((heads + sequence - 1) / sequence) / static_cast<double>(heads * halves);
  }
  /// By rank, from those by stage.
  std::vector<TransformerParts> by_rank(const std::vector<TransformerParts>& of_stages) const;
  /// What a rank of this half computes, if ranks that compute both do as `both` says.
  GuidanceHalves halves_of(int64_t rank, GuidanceHalves both) const;
};

/// The flags --sequence-degree and --guidance-parallel.
struct GroupOptions {
  int64_t sequence_degree = 1;
  bool guidance_parallel = false;

  void declare(OptionSet& set);
  /// UsageError if the ranks cannot be had. Without guidance there is one half.
  StageGrid grid(int64_t world_size, bool guided) const;
  /// UsageError if both halves in turn were asked for, too.
  void check_halves(GuidanceHalves halves) const;
};

}  // namespace dualparal
