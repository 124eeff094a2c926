// SPDX-License-Identifier: Apache-2.0
#include "model/ops/rotary.h"

#include "base/errors.h"

namespace dualparal {
namespace {

// Angles of positions [first, first + count) for `channels` channels: [count, channels / 2] in fp64.
at::Tensor angles(int64_t channels, int64_t first, int64_t count) {
  const auto options = at::TensorOptions().dtype(at::kDouble);
  const at::Tensor exponent = at::arange(0, channels, 2, options) / static_cast<double>(channels);
  const at::Tensor frequency = at::pow(at::scalar_tensor(10000.0, options), -exponent);  // [channels / 2]
  return at::outer(at::arange(first, first + count, options), frequency);
}

}  // namespace

RotaryTable RotaryEmbedding::table(const TokenGrid& grid, int64_t first_frame, const at::Device& device) const {
  const int64_t last = std::max({first_frame + grid.frames, grid.height, grid.width});
  check(last <= max_positions_,
        "a window of {} x {} x {} patches (frames, height, width) from frame {} needs position {}, past the model's "
        "rope_max_seq_len = {}: generate fewer frames at once, or use a block-wise strategy",
        grid.frames, grid.height, grid.width, first_frame, last - 1, max_positions_);
  // The temporal axis takes what the two spatial ones leave.
  const int64_t spatial = 2 * (head_dim_ / 6);
  const int64_t temporal = head_dim_ - 2 * spatial;
  if (device.is_meta()) {
    const auto shape = at::TensorOptions().device(device).dtype(at::kFloat);
    return {at::empty({grid.tokens(), head_dim_ / 2}, shape), at::empty({grid.tokens(), head_dim_ / 2}, shape)};
  }
  const auto expand = [&](const at::Tensor& axis, at::IntArrayRef view) {
    return axis.view(view).expand({grid.frames, grid.height, grid.width, axis.size(1)});
  };
  const at::Tensor angle = at::cat({expand(angles(temporal, first_frame, grid.frames), {grid.frames, 1, 1, -1}),
                                    expand(angles(spatial, 0, grid.height), {1, grid.height, 1, -1}),
                                    expand(angles(spatial, 0, grid.width), {1, 1, grid.width, -1})},
                                   -1)
                               .reshape({grid.tokens(), head_dim_ / 2});
  const auto target = at::TensorOptions().device(device).dtype(at::kFloat);
  return {angle.cos().to(target), angle.sin().to(target)};
}

}  // namespace dualparal
