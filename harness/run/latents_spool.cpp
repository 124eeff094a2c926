// SPDX-License-Identifier: Apache-2.0
#include "harness/run/latents_spool.h"

#include <utility>

#include "base/errors.h"

namespace dualparal {

void LatentsSpool::push(const at::Tensor& latents) {
  const at::Tensor whole = latents.contiguous();
  std::vector<int64_t> shape = whole.sizes().vec();
  const int64_t frames = std::exchange(shape.at(2), 0);
  check(shape_.empty() || shape == shape_, "latents [{}], the ones before were [{}], where 0 is any number",
        fmt::join(shape, ", "), fmt::join(shape_, ", "));
  shape_ = std::move(shape);
  const auto bytes = static_cast<int64_t>(whole.nbytes());
  file_.write(whole.const_data_ptr(), bytes, written_);
  written_ += bytes;
  frames_.push_back(frames);
}

at::Tensor LatentsSpool::pop() {
  std::vector<int64_t> shape = shape_;
  shape.at(2) = frames_.front();
  frames_.pop_front();
  const at::Tensor latents = at::empty(shape, at::kFloat);
  const auto bytes = static_cast<int64_t>(latents.nbytes());
  file_.read(latents.mutable_data_ptr(), bytes, read_);
  read_ += bytes;
  return latents;
}

}  // namespace dualparal
