// SPDX-License-Identifier: Apache-2.0
// Snapshots of strategies that take latents through the schedule step by step: the latents, and their sampler.
#pragma once

#include "strategy/snapshot/snapshots.h"

namespace dualparal {

/// Whose latents a rank has.
struct HeldLatents {
  Range frames;
  int64_t rank = 0;
  int64_t keepers = 1;  ///< the first so many ranks hold all latents between them; others hold copies, or nothing
};

class StepSnapshots {
 public:
  /// total: iterations of the loop, steps or more.
  StepSnapshots(Snapshots& snapshots, const HeldLatents& held, int64_t total);

  /// The step that the run begins with, or goes on with.
  int64_t first() const { return first_; }
  /// Puts back what was kept after the steps before, if the run is resumed: the latents, on the device where they are,
  /// and the sampler.
  void restore(at::Tensor& latents, Sampler& sampler) const;
  /// Optional, before a step: asks what follows it. So many steps are taken at least, the next one for certain.
  int64_t certain_before(int64_t step) {
    agenda_.ask_until(step + 1);
    return agenda_.certain();
  }
  /// After each step: keeps the state if that was decided. RunStopped if the run ends here.
  void after(int64_t done, const at::Tensor& latents, const Sampler& sampler);

 private:
  Snapshots& snapshots_;
  HeldLatents held_;
  int64_t first_;
  SnapshotAgenda agenda_;
};

}  // namespace dualparal
