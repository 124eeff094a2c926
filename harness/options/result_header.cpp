// SPDX-License-Identifier: Apache-2.0
#include "harness/options/result_header.h"

#include <cmath>

#include "base/hash.h"
#include "harness/options/prompt_list.h"
#include "harness/options/strategies.h"

namespace dualparal {

namespace {

// The strategy's own, and what was asked of its attention, of the operations between products, and of a list of
// prompts.
OptionValues options_of(const GenerateOptions& o) {
  OptionValues values = o.run.strategy_options;
  values.merge(attention_values(o.attention));
  if (o.model.kernels != "auto") values["kernels"] = o.model.kernels;
  if (in_scenario(o)) values["scenario"] = o.run.scenario;
  if (in_scenario(o)) values["prompts"] = std::to_string(videos_in_run(o));
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

void set_formula_fields(ResultLine& line, const StrategyPlan& plan, const Workload& work) {
  const AnalyticCost cost = analytic_cost(plan, work);
  line.analytic_cost = {.sent_bytes = std::llround(cost.sent_bytes),
                        .weights_bytes = std::llround(cost.weights_bytes),
                        .key_value_bytes = std::llround(cost.key_value_bytes)};
  if (plan.slots) line.bubble_ratio_slots = plan.slots->bubble_ratio();
}

void set_config(ResultLine& line, const GenerateOptions& options) {
  line.config = to_json(options);
  line.config_hash = text_hash(line.config.dump());
}

}  // namespace dualparal
