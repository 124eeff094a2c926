// SPDX-License-Identifier: Apache-2.0
#include "strategy/parallel/partition.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/errors.h"

namespace dualparal {

std::vector<TransformerParts> partition(const TransformerConfig& config, int64_t stages) {
  check_usage(1 <= stages && stages <= config.num_layers,
              "a model of {} layers cannot be split over {} ranks: each needs a layer at least{}", config.num_layers,
              stages, stages <= 2 * config.num_layers ? " (--partition balanced: half a layer)" : "");
  // Products with weights, per token; attention over the tokens comes on top and makes embedding and head smaller yet.
  const double dim = static_cast<double>(config.dim());
  const double layer = dim * (6 * dim + 2 * static_cast<double>(config.ffn_dim));
  const double patch = static_cast<double>(config.patch_size[0] * config.patch_size[1] * config.patch_size[2]);
  std::vector<double> cost(stages, 0.0);
  cost.front() += static_cast<double>(config.in_channels) * patch * dim / layer;
  cost.back() += static_cast<double>(config.out_channels) * patch * dim / layer;

  std::vector<int64_t> layers(stages, 1);
  for (double& c : cost) c += 1;
  for (int64_t left = config.num_layers - stages; left > 0; --left) {
    const auto least = std::min_element(cost.begin(), cost.end()) - cost.begin();
    ++layers[least];
    cost[least] += 1;
  }
  std::vector<TransformerParts> parts;
  int64_t begin = 0;
  for (int64_t stage = 0; stage < stages; ++stage) {
    parts.push_back({{begin, begin + layers[stage]}, stage == 0, stage == stages - 1});
    begin += layers[stage];
  }
  return parts;
}

namespace {

constexpr std::array<const char*, kLayerParts> kNames = {"self", "cross", "ffn"};

std::vector<std::string> split_text(const std::string& text, char by) {
  std::vector<std::string> out(1);
  for (const char c : text) {
    if (c == by)
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

// LAYER[:PART[:SHARE]]
LayerPosition position_of(const std::string& text, const TransformerConfig& config) {
  const auto fields = split_text(text, ':');
  const auto refuse = [&](const std::string& why) {
    throw UsageError(fmt::format(
        "--partition: '{}' {}; expected LAYER, LAYER:PART or LAYER:PART:SHARE with a layer from 0 to {}, {}, and the "
        "share of the tokens that the stage before makes, from 0 to 0.999",
        text, why, config.num_layers - 1, fmt::join(kNames, ", ")));
  };
  LayerPosition position;
  const std::string& layer = fields[0];
  if (layer.empty() || layer.size() > 6 || layer.find_first_not_of("0123456789") != std::string::npos ||
      fields.size() > 3)
    refuse("is no place in the transformer");
  position.layer = std::stol(layer);
  if (position.layer >= config.num_layers) refuse("is past the last layer");
  if (fields.size() > 1) {
    const auto name = std::ranges::find(kNames, fields[1]);
    if (name == kNames.end()) refuse("names no part of a layer");
    position.cut.part = name - kNames.begin();
  }
  if (fields.size() > 2) {
    size_t end = 0;
    double share = -1;
    try {
      share = std::stod(fields[2], &end);
    } catch (const std::exception&) {
    }
    if (end != fields[2].size() || !(share >= 0 && share < 0.9995)) refuse("has no such share");
    position.cut.permille = std::llround(1000 * share);
  }
  return position;
}

}  // namespace

std::vector<TransformerParts> given_partition(const TransformerConfig& config, int64_t stages,
                                              const std::string& starts) {
  std::vector<LayerPosition> places(1);
  if (!starts.empty())
    for (const std::string& text : split_text(starts, ',')) {
      places.push_back(position_of(text, config));
      check_usage(places[places.size() - 2] < places.back(), "--partition {}: '{}' is not behind the stage before it",
                  starts, text);
    }
  check_usage(static_cast<int64_t>(places.size()) == stages,
              "--partition {}: {} place(s) where stages begin, expected {} for {} stages: all but the first", starts,
              places.size() - 1, stages - 1, stages);
  places.push_back({config.num_layers});
  std::vector<TransformerParts> parts;
  for (int64_t stage = 0; stage < stages; ++stage)
    parts.push_back({LayerRange::between(places[stage], places[stage + 1]), stage == 0, stage == stages - 1});
  return parts;
}

std::string stage_starts(const std::vector<TransformerParts>& stages) {
  std::vector<std::string> texts;
  for (size_t stage = 1; stage < stages.size(); ++stage) {
    const LayerRange& layers = stages[stage].layers;
    std::string text = std::to_string(layers.begin);
    if (layers.from != LayerCut{}) text += fmt::format(":{}", kNames.at(static_cast<size_t>(layers.from.part)));
    if (layers.from.permille > 0) text += fmt::format(":{:.3f}", static_cast<double>(layers.from.permille) / 1000);
    texts.push_back(text);
  }
  return fmt::format("{}", fmt::join(texts, ","));
}

void PartitionOption::declare(OptionSet& set) {
  set.text("partition", how,
           "layers of a stage: whole ones; balanced: cut within layers so that all stages cost the same; or where the "
           "stages behind the first begin, for instance 3,7:cross,10:ffn:0.4, or a file of that (docs/strategies.md)",
           "layers|balanced|STARTS|FILE");
}

std::vector<TransformerParts> PartitionOption::stages(const Workload& work, int64_t count,
                                                      const TypicalWindow& window) const {
  if (how == "layers") return partition(work.config, count);
  if (how == "balanced") return balanced_partition(work.config, count, trace_part_costs(work, window));
  return given_partition(work.config, count, how);
}

}  // namespace dualparal
