// SPDX-License-Identifier: Apache-2.0
#include "harness/options/result_header.h"

#include <algorithm>
#include <cmath>

#include "base/hash.h"
#include "harness/options/prompt_list.h"
#include "harness/options/strategies.h"

namespace dualparal {

namespace {

// The strategy's own, and what was asked of its attention, of the operations between products, and of a list of
// prompts and who makes its videos.
OptionValues options_of(const GenerateOptions& o) {
  OptionValues values = o.run.strategy_options;
  values.merge(attention_values(o.attention));
  if (o.model.kernels != "auto") values["kernels"] = o.model.kernels;
  if (in_scenario(o)) values["scenario"] = o.run.scenario;
  if (in_scenario(o)) values["prompts"] = std::to_string(videos_in_run(o));
  if (o.run.replicas > 1) values["replicas"] = std::to_string(o.run.replicas);
  return values;
}

}  // namespace

ResultKind kind_of(Mode mode) {
  switch (mode) {
    case Mode::kEmulate:
      return ResultKind::kEmulated;
    case Mode::kTrace:
      return ResultKind::kTraced;
    case Mode::kRun:
      break;
  }
  return ResultKind::kMeasured;
}

ResultLine result_header(const GenerateOptions& o, const std::string& model_name, std::optional<int64_t> latent_frames,
                         int64_t world_size) {
  return {.kind = kind_of(o.run.mode),
          .strategy = o.run.strategy,
          .exact = find_strategy(o.run.strategy).exact,
          .options = nlohmann::ordered_json(options_of(o)),
          .world_size = world_size,
          .model = model_name,
          .device = o.model.device,
          .dtype = o.model.dtype,
          .frames = o.video.frames,
          .latent_frames = latent_frames,
          .height = o.video.height,
          .width = o.video.width,
          .steps = o.sampling.steps,
          .seed = o.sampling.seed,
          .videos = in_scenario(o) ? std::optional(videos_in_run(o)) : std::nullopt};
}

void set_formula_fields(ResultLine& line, const std::vector<ReplicaPlan>& plans) {
  AnalyticCost all;
  SlotCount slots;
  for (const ReplicaPlan& one : plans) {
    const AnalyticCost cost = analytic_cost(one.plan, one.work);
    all.sent_bytes += static_cast<double>(one.replicas) * cost.sent_bytes;
    all.weights_bytes = std::max(all.weights_bytes, cost.weights_bytes);
    all.key_value_bytes = std::max(all.key_value_bytes, cost.key_value_bytes);
    if (!one.plan.slots) continue;
    slots.work += one.replicas * one.plan.slots->work;
    slots.idle += one.replicas * one.plan.slots->idle;
  }
  line.analytic_cost = {.sent_bytes = std::llround(all.sent_bytes),
                        .weights_bytes = std::llround(all.weights_bytes),
                        .key_value_bytes = std::llround(all.key_value_bytes)};
  if (slots.work > 0) line.bubble_ratio_slots = slots.bubble_ratio();
}

void set_config(ResultLine& line, const GenerateOptions& options) {
  line.config = to_json(options);
  line.config_hash = text_hash(line.config.dump());
}

}  // namespace dualparal
