// SPDX-License-Identifier: Apache-2.0
// Coordinated noise (paper, section on coordinated noise initialisation): all blocks draw from one pool, and none
// repeats the noise of its predecessor's last frames.
#pragma once

#include <ATen/ATen.h>

#include "dualparal/block_plan.h"
#include "strategy/denoise/request.h"

namespace dualparal {

/// Initial noise of blocks, one after the other.
class BlockNoise {
 public:
  /// sharing: from the pool; else fresh noise for every frame. A request with `initial_noise` has its frames taken.
  BlockNoise(const Request& request, int64_t block_frames, int64_t context_frames, bool sharing);

  /// Noise of the next block: [1, channels, block.frames(), h, w] fp32 on the CPU.
  at::Tensor next(const Block& block);
  /// As next(), for a block whose noise nobody needs any more.
  void skip() {
    if (sharing_) turn_pool();
  }

 private:
  void turn_pool();

  const Request& request_;
  int64_t block_frames_, context_frames_;
  bool sharing_;
  at::Tensor pool_;  // [1, channels, block_frames + context_frames, h, w]
  at::Generator generator_;
};

}  // namespace dualparal
