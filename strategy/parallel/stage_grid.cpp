// SPDX-License-Identifier: Apache-2.0
#include "strategy/parallel/stage_grid.h"

#include "base/errors.h"

namespace dualparal {

std::vector<int64_t> StageGrid::group(const Place& place) const {
  std::vector<int64_t> ranks;
  for (int64_t index = 0; index < sequence; ++index) ranks.push_back(rank({place.half, place.stage, index}));
  return ranks;
}

std::vector<int64_t> StageGrid::samplers() const {
  std::vector<int64_t> ranks;
  for (int64_t half = 0; half < halves; ++half)
    for (int64_t index = 0; index < sequence; ++index) ranks.push_back(rank({half, 0, index}));
  return ranks;
}

std::vector<TransformerParts> StageGrid::by_rank(const std::vector<TransformerParts>& of_stages) const {
  std::vector<TransformerParts> parts;
  for (int64_t rank = 0; rank < ranks(); ++rank) parts.push_back(of_stages.at(place(rank).stage));
  return parts;
}

GuidanceHalves StageGrid::halves_of(int64_t rank, GuidanceHalves both) const {
  if (halves == 1) return both;
  return place(rank).half == 0 ? GuidanceHalves::kConditional : GuidanceHalves::kUnconditional;
}

void GroupOptions::declare(OptionSet& set) {
  set.number("sequence-degree", sequence_degree,
             "ranks of a stage, which hold the same layers and split the tokens (heads while attending)", 1);
  set.toggle("guidance-parallel", guidance_parallel,
             "one half of the ranks for the conditional prediction, the other for the unconditional one");
}

StageGrid GroupOptions::grid(int64_t world_size, bool guided) const {
  const int64_t halves = guidance_parallel && guided ? 2 : 1;
  check_usage(!guidance_parallel || world_size % 2 == 0,
              "--guidance-parallel on: two halves of {} ranks cannot be had; use an even number (--nproc)", world_size);
  check_usage(world_size / halves % sequence_degree == 0,
              "--sequence-degree {}: {} ranks{} cannot be cut into stages of {}; use a multiple (--nproc)",
              sequence_degree, world_size / halves, halves == 2 ? " of each half" : "", sequence_degree);
  return {halves, world_size / halves / sequence_degree, sequence_degree};
}

void GroupOptions::check_halves(GuidanceHalves halves) const {
  check_usage(!guidance_parallel || halves == GuidanceHalves::kBatched,
              "--guidance-micro-batches 2: with --guidance-parallel on, a rank has one half only");
}

}  // namespace dualparal
