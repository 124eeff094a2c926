// SPDX-License-Identifier: Apache-2.0
// What is kept of a run, so that it can go on later: named tensors and numbers of each rank that keeps something.
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <string>
#include <vector>

#include "model/sampling/sampler.h"
#include "strategy/parallel/ranges.h"

namespace dualparal {

/// One rank's part. Tensors are on any device, and nobody changes them any more: to keep one costs no copy.
struct RunState {
  std::map<std::string, at::Tensor> tensors = {};
  std::map<std::string, int64_t> numbers = {};

  /// Error that names what is missing.
  const at::Tensor& tensor(const std::string& name) const;
  int64_t number(const std::string& name) const;

  /// A sampler, under names that begin with `name`.
  void add(const std::string& name, const SamplerState& sampler);
  /// ... as it was added, its tensors copied to `device`.
  SamplerState sampler(const std::string& name, const at::Device& device) const;
};

/// A piece of latents, [1, channels, frames, h, w] as tensor "latents", whose first frame has this number, and the
/// sampler that is denoising them, if there is one.
RunState latents_state(int64_t first_frame, const at::Tensor& latents, const Sampler* sampler);

/// A run after `done` iterations of its strategy's loop.
struct SavedRun {
  int64_t done = 0;
  int64_t world_size = 1;            ///< ranks of the run that was kept
  int64_t finished = 0;              ///< pieces of latents that were final, in the sink before the run goes on
  std::vector<RunState> ranks = {};  ///< of the first ranks: those that kept something

  /// The latents of these frames, put together from the ranks' pieces (latents_state()): that of `rank` if it holds
  /// just these. Error for frames that nobody kept.
  RunState frames(const Range& frames, int64_t rank) const;
};

}  // namespace dualparal
