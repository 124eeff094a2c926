// SPDX-License-Identifier: Apache-2.0
#include "strategy/snapshot/step_snapshots.h"

namespace dualparal {

StepSnapshots::StepSnapshots(Snapshots& snapshots, const HeldLatents& held, int64_t total)
    : snapshots_(snapshots),
      held_(held),
      first_(snapshots.resumed() ? snapshots.resumed()->done : 0),
      agenda_(snapshots, first_, total) {}

void StepSnapshots::restore(at::Tensor& latents, Sampler& sampler) const {
  const SavedRun* kept = snapshots_.resumed();
  if (!kept) return;
  const RunState state = kept->frames(held_.frames, held_.rank);
  const at::Device device = latents.device();
  latents = state.tensor("latents").to(device, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  sampler.set_state(state.sampler("sampler", device));
}

void StepSnapshots::after(int64_t done, const at::Tensor& latents, const Sampler& sampler) {
  agenda_.ask_until(done);
  const SnapshotDecision decision = agenda_.after(done);
  if (decision == SnapshotDecision::kNone) return;
  if (held_.rank < held_.keepers)
    snapshots_.save(done, held_.keepers, latents_state(held_.frames.begin, latents, &sampler));
  if (decision == SnapshotDecision::kKeepAndStop) throw RunStopped(done);
}

}  // namespace dualparal
