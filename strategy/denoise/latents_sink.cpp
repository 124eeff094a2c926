// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/latents_sink.h"

#include "base/errors.h"

namespace dualparal {

void CollectingSink::push(const at::Tensor& latents) { pieces_.push_back(latents.to(at::kCPU, at::kFloat).clone()); }

at::Tensor CollectingSink::latents() const {
  check(!pieces_.empty(), "no latents were finished");
  return at::cat(pieces_, 2);
}

}  // namespace dualparal
