// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/guidance.h"

#include "base/errors.h"

namespace dualparal {

void declare_micro_batches(OptionSet& set, GuidanceHalves& halves) {
  set.choice<GuidanceHalves>("guidance-micro-batches", halves,
                             "conditional and unconditional halves as 1 batch or 2 micro-batches",
                             {{"1", GuidanceHalves::kBatched}, {"2", GuidanceHalves::kInTurn}});
}

int64_t micro_batches(GuidanceHalves halves, bool guided) {
  return guided && halves == GuidanceHalves::kInTurn ? 2 : 1;
}

at::Tensor guidance_batch(const Request& request) {
  if (!request.guided()) return request.prompt_embeds;
  check(request.prompt_embeds.sizes() == request.negative_prompt_embeds.sizes(),
        "prompt and negative prompt embeddings must have the same shape, got [{}] and [{}]",
        fmt::join(request.prompt_embeds.sizes(), ", "), fmt::join(request.negative_prompt_embeds.sizes(), ", "));
  return at::cat({request.prompt_embeds, request.negative_prompt_embeds});
}

at::Tensor duplicate_for_guidance(const Request& request, const at::Tensor& latents) {
  if (!request.guided()) return latents;
  auto shape = latents.sizes().vec();
  shape[0] = 2;
  return latents.expand(shape);
}

at::Tensor apply_guidance(const Request& request, const at::Tensor& prediction, bool second) {
  const at::Tensor wide = prediction.to(at::kFloat);
  if (!request.guided()) return wide;
  const auto halves = wide.chunk(2);
  const double scale = second ? request.guidance_scale_2.value_or(request.guidance_scale) : request.guidance_scale;
  return at::lerp(halves[1], halves[0], scale);
}

}  // namespace dualparal
