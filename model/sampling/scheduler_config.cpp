// SPDX-License-Identifier: Apache-2.0
#include "model/sampling/scheduler_config.h"

#include "model/checkpoint/config_reader.h"

namespace dualparal {

SchedulerConfig read_scheduler_config(const std::filesystem::path& file) {
  ConfigReader reader(file);
  SchedulerConfig config;
  config.class_name = reader.required<std::string>("_class_name");
  config.num_train_timesteps = reader.optional<int64_t>("num_train_timesteps", 1000);
  if (config.class_name == "UniPCMultistepScheduler") {
    config.solver_order = reader.optional<int64_t>("solver_order", 2);
    config.solver_type = reader.optional<std::string>("solver_type", "bh2");
    config.lower_order_final = reader.optional("lower_order_final", true);
    config.disable_corrector = reader.optional("disable_corrector", std::vector<int64_t>{});
    config.flow_shift = reader.optional("flow_shift", 1.0);
    check(config.solver_type == "bh1" || config.solver_type == "bh2",
          "{}: 'solver_type' = '{}' is not supported, expected bh1 or bh2", file.string(), config.solver_type);
    check(config.solver_order >= 1 && config.solver_order <= 3,
          "{}: 'solver_order' = {} is not supported, expected 1, 2 or 3", file.string(), config.solver_order);
    check(reader.has("prediction_type") && reader.json()["prediction_type"] == "flow_prediction",
          "{}: 'prediction_type' expected \"flow_prediction\"", file.string());
    check(reader.has("use_flow_sigmas") && reader.json()["use_flow_sigmas"] == true,
          "{}: 'use_flow_sigmas' expected true", file.string());
    reader.only("prediction_type", {"flow_prediction"});
    reader.only("use_flow_sigmas", {true});
    reader.only("predict_x0", {true});
    reader.only("thresholding", {false});
    reader.only("solver_p", {nullptr});
  } else if (config.class_name == "FlowMatchEulerDiscreteScheduler") {
    config.flow_shift = reader.optional("shift", 1.0);
    reader.only("invert_sigmas", {false});
    reader.only("stochastic_sampling", {false});
    reader.ignore({"base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len"});
  } else {
    fail(
        "{}: '_class_name' = '{}' is not supported, expected UniPCMultistepScheduler or "
        "FlowMatchEulerDiscreteScheduler",
        file.string(), config.class_name);
  }
  reader.only("use_karras_sigmas", {false});
  reader.only("use_exponential_sigmas", {false});
  reader.only("use_beta_sigmas", {false});
  reader.only("use_dynamic_shifting", {false});
  reader.only("shift_terminal", {nullptr});
  reader.only("final_sigmas_type", {"zero"});
  reader.ignore({"beta_start", "beta_end", "beta_schedule", "trained_betas", "dynamic_thresholding_ratio",
                 "sample_max_value", "timestep_spacing", "steps_offset", "rescale_betas_zero_snr", "time_shift_type",
                 "sigma_min", "sigma_max"});
  reader.refuse_unknown();
  return config;
}

}  // namespace dualparal
