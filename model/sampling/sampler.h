// SPDX-License-Identifier: Apache-2.0
// Samplers: from the transformer's prediction at one noise level to the latents at the next.
// A Schedule is shared; each thing that is denoised on its own (a video, a block) has a Sampler of its own.
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/sampling/scheduler_config.h"

namespace dualparal {

/// Noise levels of a run of T steps.
struct Schedule {
  std::vector<double> sigmas;     ///< [T + 1], falling from about 1 to 0
  std::vector<double> timesteps;  ///< [T], what the transformer is told
  int64_t steps() const { return static_cast<int64_t>(timesteps.size()); }
};

/// All that a sampler knows besides its schedule, by name. Tensors, of the latents' shape, are not changed any more.
struct SamplerState {
  std::map<std::string, at::Tensor> tensors = {};
  std::map<std::string, int64_t> numbers = {};
};

class Sampler {
 public:
  virtual ~Sampler() = default;
  /// Takes the next step. prediction, latents: any same shape, latents in fp32. Returns new latents in fp32 and
  /// leaves both arguments as they are. Error after the last step.
  virtual at::Tensor step(const at::Tensor& prediction, const at::Tensor& latents) = 0;
  virtual SamplerState state() const = 0;
  /// Goes on from what a sampler of the same kind and schedule knew. Error if something is missing.
  virtual void set_state(const SamplerState& state) = 0;
};

enum class SamplerKind { kUniPC, kFlowEuler };

/// "unipc" or "euler".
SamplerKind parse_sampler(const std::string& name);
std::string sampler_name(SamplerKind kind);
/// What a checkpoint's scheduler is called here.
SamplerKind sampler_of(const SchedulerConfig& config);

/// Steps that a sampler of this schedule had taken; for samplers. Error if the state is of none.
int64_t taken_steps(const SamplerState& state, const Schedule& schedule);

Schedule make_schedule(SamplerKind kind, const SchedulerConfig& config, int64_t steps);
std::unique_ptr<Sampler> make_sampler(SamplerKind kind, const SchedulerConfig& config, const Schedule& schedule);

/// diffusers: UniPCMultistepScheduler with flow sigmas and flow prediction (arXiv 2302.04867).
Schedule unipc_schedule(const SchedulerConfig& config, int64_t steps);
std::unique_ptr<Sampler> unipc_sampler(const SchedulerConfig& config, const Schedule& schedule);
/// diffusers: FlowMatchEulerDiscreteScheduler.
Schedule flow_euler_schedule(const SchedulerConfig& config, int64_t steps);
std::unique_ptr<Sampler> flow_euler_sampler(const Schedule& schedule);

}  // namespace dualparal
