// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/latents_sink.h"

#include "base/errors.h"

namespace dualparal {

at::Tensor with_first_frame(const at::Tensor& latents, const at::Tensor& first_frame) {
  check(first_frame.dim() == 5 && first_frame.size(1) == latents.size(1) && first_frame.size(2) == 1 &&
            first_frame.sizes().slice(3) == latents.sizes().slice(3),
        "a first frame of [{}] for latents of [{}]", fmt::join(first_frame.sizes(), ", "),
        fmt::join(latents.sizes(), ", "));
  return at::cat({first_frame.to(latents.device(), latents.scalar_type()), latents.slice(2, 1)}, 2);
}

void FirstFrameSink::push(const at::Tensor& latents) {
  const bool begins = frames_ == 0;
  frames_ = (frames_ + latents.size(2)) % video_frames_;
  inner_.push(begins && first_frame_.defined() ? with_first_frame(latents, first_frame_) : latents);
}

void CollectingSink::push(const at::Tensor& latents) { pieces_.push_back(latents.to(at::kCPU, at::kFloat).clone()); }

at::Tensor CollectingSink::latents() const {
  check(!pieces_.empty(), "no latents were finished");
  return at::cat(pieces_, 2);
}

}  // namespace dualparal
