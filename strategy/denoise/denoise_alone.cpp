// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/denoise_alone.h"

#include "base/measure/nvtx.h"
#include "strategy/denoise/local_attention.h"

namespace dualparal {

at::Tensor denoise_alone(const Denoiser& denoiser, at::Tensor latents, Pass pass, Recorder& recorder, WorkLabel label,
                         const std::function<void(int64_t done)>& progress, StepSnapshots* snapshots) {
  const auto sampler = denoiser.make_sampler();
  LocalAttention attention;
  label.last_layer = denoiser.transformer().config().num_layers - 1;
  if (snapshots) snapshots->restore(latents, *sampler);
  for (int64_t step = snapshots ? snapshots->first() : 0; step < denoiser.steps(); ++step) {
    const NvtxRange range("step {}", step);
    label.step = step;
    pass.time = denoiser.time(step);
    const auto span = recorder.compute(label);
    latents = sampler->step(denoiser.predict(pass, latents, attention), latents);
    progress(step + 1);
    if (snapshots) snapshots->after(step + 1, latents, *sampler);
  }
  return latents;
}

}  // namespace dualparal
