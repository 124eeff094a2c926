// SPDX-License-Identifier: Apache-2.0
#include "model/sampling/sampler.h"

#include <cmath>

#include "base/errors.h"

namespace dualparal {

SamplerKind parse_sampler(const std::string& name) {
  if (name == "unipc") return SamplerKind::kUniPC;
  if (name == "euler") return SamplerKind::kFlowEuler;
  throw UsageError(fmt::format("--sampler: expected unipc or euler, got '{}'", name));
}

std::string sampler_name(SamplerKind kind) { return kind == SamplerKind::kUniPC ? "unipc" : "euler"; }

SamplerKind sampler_of(const SchedulerConfig& config) {
  return config.class_name == "UniPCMultistepScheduler" ? SamplerKind::kUniPC : SamplerKind::kFlowEuler;
}

Schedule make_schedule(SamplerKind kind, const SchedulerConfig& config, int64_t steps) {
  check_usage(steps > 0, "--steps: expected a positive number, got {}", steps);
  check_usage(steps <= config.num_train_timesteps, "--steps: expected at most {}, got {}", config.num_train_timesteps,
              steps);
  check_usage(std::isfinite(config.flow_shift) && config.flow_shift > 0,
              "--flow-shift: expected a positive number, got {}", config.flow_shift);
  return kind == SamplerKind::kUniPC ? unipc_schedule(config, steps) : flow_euler_schedule(config, steps);
}

int64_t taken_steps(const SamplerState& state, const Schedule& schedule) {
  const auto steps = state.numbers.find("steps");
  check(steps != state.numbers.end() && steps->second >= 0 && steps->second <= schedule.steps(),
        "sampler: the kept state is of no schedule of {} steps", schedule.steps());
  return steps->second;
}

std::unique_ptr<Sampler> make_sampler(SamplerKind kind, const SchedulerConfig& config, const Schedule& schedule) {
  return kind == SamplerKind::kUniPC ? unipc_sampler(config, schedule) : flow_euler_sampler(schedule);
}

}  // namespace dualparal
