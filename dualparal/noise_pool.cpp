// SPDX-License-Identifier: Apache-2.0
#include "dualparal/noise_pool.h"

#include <ATen/CPUGeneratorImpl.h>

#include "strategy/denoise/noise.h"

namespace dualparal {
namespace {

constexpr uint64_t kPermutationStream = 0x5045524Dull;  // apart from the streams of the frames' noise

}  // namespace

BlockNoise::BlockNoise(const Request& request, int64_t block_frames, int64_t context_frames, bool sharing)
    : request_(request),
      block_frames_(block_frames),
      context_frames_(context_frames),
      sharing_(sharing && !request.initial_noise.defined()),
      generator_(at::detail::createCPUGenerator(request.seed ^ (kPermutationStream << 32))) {
  if (sharing_) pool_ = frame_noise(request, 0, block_frames + context_frames);
}

void BlockNoise::turn_pool() {
  // P <- [last c of P, random permutation of the first block_frames of P]
  const at::Tensor order = at::randperm(block_frames_, generator_);
  pool_ = at::cat({pool_.slice(2, block_frames_), pool_.slice(2, 0, block_frames_).index_select(2, order)}, 2);
}

at::Tensor BlockNoise::next(const Block& block) {
  if (!sharing_) return frame_noise(request_, block.begin, block.end);
  turn_pool();
  const int64_t first = block.begin == 0 ? 0 : context_frames_;
  return pool_.slice(2, first, first + block.frames()).clone();
}

}  // namespace dualparal
