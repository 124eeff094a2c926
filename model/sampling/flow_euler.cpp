// SPDX-License-Identifier: Apache-2.0
#include "base/errors.h"
#include "model/sampling/sampler.h"

namespace dualparal {
namespace {

class FlowEulerSampler final : public Sampler {
 public:
  explicit FlowEulerSampler(Schedule schedule) : schedule_(std::move(schedule)) {}

  at::Tensor step(const at::Tensor& prediction, const at::Tensor& latents) override {
    check(step_ < schedule_.steps(), "sampler: all {} steps are taken", schedule_.steps());
    const double change = schedule_.sigmas[step_ + 1] - schedule_.sigmas[step_];
    ++step_;
    return at::add(latents.to(at::kFloat), prediction.to(at::kFloat), change);
  }

  SamplerState state() const override { return {.numbers = {{"steps", step_}}}; }
  void set_state(const SamplerState& state) override { step_ = taken_steps(state, schedule_); }

 private:
  Schedule schedule_;
  int64_t step_ = 0;
};

}  // namespace

Schedule flow_euler_schedule(const SchedulerConfig& config, int64_t steps) {
  const double shift = config.flow_shift;
  const auto shifted = [shift](double sigma) { return shift * sigma / (1 + (shift - 1) * sigma); };
  // The reference shifts twice: first the range of noise levels (in fp32), then the levels taken from it.
  const auto train = static_cast<double>(config.num_train_timesteps);
  const double highest = static_cast<float>(shifted(1.0)), lowest = static_cast<float>(shifted(1.0 / train));
  Schedule schedule;
  for (int64_t i = 0; i < steps; ++i) {
    const double fraction = steps == 1 ? 0 : static_cast<double>(i) / static_cast<double>(steps - 1);
    const auto sigma = static_cast<float>(shifted(highest + (lowest - highest) * fraction));
    schedule.sigmas.push_back(sigma);
    schedule.timesteps.push_back(sigma * static_cast<float>(train));
  }
  schedule.sigmas.push_back(0);
  return schedule;
}

std::unique_ptr<Sampler> flow_euler_sampler(const Schedule& schedule) {
  return std::make_unique<FlowEulerSampler>(schedule);
}

}  // namespace dualparal
