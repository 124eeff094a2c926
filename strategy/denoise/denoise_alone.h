// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "comm/recorder.h"
#include "strategy/denoise/denoiser.h"
#include "strategy/snapshot/step_snapshots.h"

namespace dualparal {

/// All steps of one window that this rank denoises without the others, every token seeing every other.
/// latents: the window's initial noise, [1, channels, frames, h, w] -> final latents of the same shape, fp32.
/// label: what the work is noted as; block and frames are the caller's. progress: called with the steps done.
/// snapshots: if they are kept of these steps.
at::Tensor denoise_alone(
    const Denoiser& denoiser, at::Tensor latents, Pass pass, Recorder& recorder, WorkLabel label,
    const std::function<void(int64_t done)>& progress = [](int64_t) {}, StepSnapshots* snapshots = nullptr);

}  // namespace dualparal
