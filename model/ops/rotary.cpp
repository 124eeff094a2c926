// SPDX-License-Identifier: Apache-2.0
#include "model/ops/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/errors.h"

namespace dualparal {
namespace {

constexpr double kBase = 10000.0;
constexpr double kOfPeriod = 0.9;  // RIFLEx's authors: some videos begin to repeat shortly before the period's end

// The temporal axis takes the channels that the two spatial ones leave.
int64_t spatial_channels(int64_t head_dim) { return 2 * (head_dim / 6); }
int64_t temporal_channels(int64_t head_dim) { return head_dim - 2 * spatial_channels(head_dim); }

// Angles of positions [first, first + count) for `channels` channels: [count, channels / 2] in fp64.
at::Tensor angles(int64_t channels, int64_t first, int64_t count, const RotaryScaling& scaling = {}) {
  const auto options = at::TensorOptions().dtype(at::kDouble);
  const at::Tensor exponent = at::arange(0, channels, 2, options) / static_cast<double>(channels);
  at::Tensor frequency = at::pow(at::scalar_tensor(kBase, options), -exponent);  // [channels / 2]
  if (scaling.index > 0) {
    check(scaling.index <= channels / 2 && scaling.frames > 0,
          "RIFLEx: frequency {} over {} latent frames; there are {} temporal frequencies", scaling.index,
          scaling.frames, channels / 2);
    frequency.select(0, scaling.index - 1)
        .clamp_max_(kOfPeriod * 2 * std::numbers::pi / static_cast<double>(scaling.frames));
  }
  return at::outer(at::arange(first, first + count, options), frequency);
}

}  // namespace

int64_t temporal_frequencies(int64_t head_dim) { return temporal_channels(head_dim) / 2; }

int64_t riflex_index(int64_t head_dim, int64_t trained_frames) {
  const int64_t channels = temporal_channels(head_dim);
  for (int64_t j = 0; j < channels / 2; ++j) {
    const double period =
        2 * std::numbers::pi * std::pow(kBase, 2.0 * static_cast<double>(j) / static_cast<double>(channels));
    if (period >= static_cast<double>(trained_frames)) return j + 1;
  }
  return 0;
}

RotaryTable RotaryEmbedding::table(const TokenGrid& grid, int64_t first_frame, const at::Device& device,
                                   const RotaryScaling& scaling) const {
  const int64_t last = std::max({first_frame + grid.frames, grid.height, grid.width});
  check(last <= max_positions_,
        "a window of {} x {} x {} patches (frames, height, width) from frame {} needs position {}, past the model's "
        "rope_max_seq_len = {}: generate fewer frames at once, or use a block-wise strategy",
        grid.frames, grid.height, grid.width, first_frame, last - 1, max_positions_);
  const int64_t spatial = spatial_channels(head_dim_), temporal = temporal_channels(head_dim_);
  if (device.is_meta()) {
    const auto shape = at::TensorOptions().device(device).dtype(at::kFloat);
    return {at::empty({grid.tokens(), head_dim_ / 2}, shape), at::empty({grid.tokens(), head_dim_ / 2}, shape)};
  }
  const auto expand = [&](const at::Tensor& axis, at::IntArrayRef view) {
    return axis.view(view).expand({grid.frames, grid.height, grid.width, axis.size(1)});
  };
  const at::Tensor angle =
      at::cat({expand(angles(temporal, first_frame, grid.frames, scaling), {grid.frames, 1, 1, -1}),
               expand(angles(spatial, 0, grid.height), {1, grid.height, 1, -1}),
               expand(angles(spatial, 0, grid.width), {1, 1, grid.width, -1})},
              -1)
          .reshape({grid.tokens(), head_dim_ / 2});
  const auto target = at::TensorOptions().device(device).dtype(at::kFloat);
  return {angle.cos().to(target), angle.sin().to(target)};
}

}  // namespace dualparal
