// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/errors.h"
#include "strategy/parallel/partition.h"

namespace dualparal {
namespace {

constexpr double kThousand = 1000;
// A cut within a layer, or within a part of one, must be worth it: stages that cost this much more are as good.
constexpr double kAsGood = 1.01;

// Stages that take as much as they can, in order, for a cost that none may exceed.
class Filling {
 public:
  Filling(const TransformerConfig& config, const PartCosts& costs, double most)
      : end_{config.num_layers, {}}, costs_(costs), most_(most) {}

  /// Where stages begin, and the end; empty if more than `stages` would be needed.
  std::vector<LayerPosition> places(int64_t stages) const {
    std::vector<LayerPosition> places{{}};
    return fill(places, stages) ? places : std::vector<LayerPosition>{};
  }

  /// The same with stages that end with a whole layer, else a whole part, where the stages behind can take the rest.
  std::vector<LayerPosition> plain_places(int64_t stages) const {
    std::vector<LayerPosition> places{{}};
    for (int64_t stage = 0; stage < stages; ++stage) {
      const LayerPosition far = advance(places.back(), left(stage));
      for (const LayerPosition& place :
           {LayerPosition{far.layer, {}}, LayerPosition{far.layer, {far.cut.part, 0}}, far}) {
        auto tried = places;
        tried.push_back(place);
        if (place <= places.back() || (place == end_ && stage + 1 < stages) || !fill(tried, stages)) continue;
        places.push_back(place);
        break;
      }
    }
    return static_cast<int64_t>(places.size()) == stages + 1 ? places : std::vector<LayerPosition>{};
  }

 private:
  double fixed(int64_t part) const { return part == kSelfAttention ? costs_.key_value : 0; }
  double variable(int64_t part) const { return costs_.parts.at(static_cast<size_t>(part)) - fixed(part); }
  double rest_of_part(const LayerCut& cut) const {
    return fixed(cut.part) + variable(cut.part) * (1 - static_cast<double>(cut.permille) / kThousand);
  }
  double left(int64_t stage) const { return most_ - (stage == 0 ? costs_.embed : 0); }

  // Adds the stages that are missing, each as large as can be; whether all comes to its end in `stages`.
  bool fill(std::vector<LayerPosition>& places, int64_t stages) const {
    while (static_cast<int64_t>(places.size()) <= stages && places.back() < end_)
      places.push_back(advance(places.back(), left(static_cast<int64_t>(places.size()) - 1)));
    // The head belongs to the last stage, which has to have room for it.
    return places.back() == end_ && cost_to_end(places[places.size() - 2]) + costs_.head <= most_;
  }

  double cost_to_end(LayerPosition place) const {
    double cost = 0;
    while (place < end_) {
      cost += rest_of_part(place.cut);
      place = next_part(place);
    }
    return cost;
  }

  static LayerPosition next_part(const LayerPosition& place) {
    if (place.cut.part + 1 == kLayerParts) return {place.layer + 1, {}};
    return {place.layer, {place.cut.part + 1, 0}};
  }

  // As far as `left` goes. A part is shared only where that moves more work than it costs.
  LayerPosition advance(LayerPosition place, double left) const {
    const LayerPosition begin = place, last_part{end_.layer - 1, {kFeedForward, 0}};
    while (place < end_ && rest_of_part(place.cut) <= left) {
      left -= rest_of_part(place.cut);
      place = next_part(place);
    }
    if (place == end_) return left < costs_.head && begin < last_part ? last_part : end_;  // the head needs room, too
    const int64_t part = place.cut.part;
    const double gain = left - fixed(part);
    const auto permille = static_cast<int64_t>(gain / variable(part) * kThousand);
    if (gain > fixed(part) && permille > 0) place.cut.permille = std::min<int64_t>(999, place.cut.permille + permille);
    return place;
  }

  LayerPosition end_;
  const PartCosts& costs_;
  double most_;
};

}  // namespace

std::vector<TransformerParts> balanced_partition(const TransformerConfig& config, int64_t stages,
                                                 const PartCosts& costs) {
  check_usage(1 <= stages && stages <= 2 * config.num_layers,
              "a model of {} layers cannot be split over {} ranks: each needs half a layer at least", config.num_layers,
              stages);
  const double all = static_cast<double>(config.num_layers) * costs.layer() + costs.embed + costs.head;
  double low = 0, high = all * 1.000001;  // enough for one stage, whatever rounding does
  std::vector<LayerPosition> best;
  for (int step = 0; step < 60; ++step) {
    const double most = step == 0 ? high : (low + high) / 2;
    auto places = Filling(config, costs, most).places(stages);
    if (places.empty()) {
      low = most;
      continue;
    }
    high = most;
    best = std::move(places);
  }
  check_usage(static_cast<int64_t>(best.size()) == stages + 1,
              "a model of {} layers whose parts are so unequal cannot be balanced over {} ranks: {} would do as much",
              config.num_layers, stages, best.size() - 1);
  if (auto plain = Filling(config, costs, kAsGood * high).plain_places(stages); !plain.empty()) best = std::move(plain);
  std::vector<TransformerParts> parts;
  for (int64_t stage = 0; stage < stages; ++stage)
    parts.push_back({LayerRange::between(best[stage], best[stage + 1]), stage == 0, stage == stages - 1});
  return parts;
}

}  // namespace dualparal
