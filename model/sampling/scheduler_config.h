// SPDX-License-Identifier: Apache-2.0
// scheduler/scheduler_config.json of a checkpoint, as diffusers writes it. Read as strictly as the parts'
// configurations.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace dualparal {

/// scheduler/scheduler_config.json.
struct SchedulerConfig {
  std::string class_name = "UniPCMultistepScheduler";
  int64_t num_train_timesteps = 1000;
  int64_t solver_order = 2;
  std::string solver_type = "bh2";
  bool lower_order_final = true;
  std::vector<int64_t> disable_corrector;
  double flow_shift = 3.0;
};

SchedulerConfig read_scheduler_config(const std::filesystem::path& file);

}  // namespace dualparal
