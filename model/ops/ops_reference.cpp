// SPDX-License-Identifier: Apache-2.0
// By operations of ATen. On a CUDA device without our kernels, this is what runs: LibTorch's fused RMS norm and layer
// norm, and a multiply-add in place, as far as they round once, too.
#include "base/device.h"
#include "base/errors.h"
#include "base/measure/work_meter.h"
#include "model/ops/ops.h"

namespace dualparal::reference {
namespace {

// [batch, tokens, dim] -> [batch, groups, tokens / groups, dim], a view.
at::Tensor by_group(const at::Tensor& x, int64_t groups) { return x.unflatten(1, {groups, x.size(1) / groups}); }

// LibTorch's kernel takes weights of the same dtype alone.
at::Tensor normalised(const at::Tensor& x, const HeadNorm& norm) {
  const at::Tensor rows = x.dim() == 4 ? x.flatten(2) : x;
  const at::Tensor weight = norm.weight.to(x.scalar_type());
  if (!x.is_meta()) return at::rms_norm(rows, {rows.size(2)}, weight, norm.eps).view(x.sizes());
  // There LibTorch would split it into its parts.
  WorkMeter::note_kernel(static_cast<int64_t>(2 * rows.nbytes()));
  return at::empty_like(rows).view(x.sizes());
}

}  // namespace

void norm_rotary(const at::Tensor& x, const HeadNorm& norm, const RotaryTable& table, at::Tensor& out) {
  if (!table.cos.defined()) {
    out.copy_(normalised(x, norm));
    return;
  }
  at::Tensor wide = x.to(at::kFloat);
  if (norm.weight.defined()) wide = normalised(wide, norm);
  const at::Tensor pairs = wide.unflatten(-1, {-1, 2});  // [batch, tokens, heads, head_dim / 2, 2]
  const at::Tensor even = pairs.select(-1, 0), odd = pairs.select(-1, 1);
  const at::Tensor cos = table.cos.unsqueeze(1), sin = table.sin.unsqueeze(1);  // [tokens, 1, head_dim / 2]
  out.copy_(at::stack({even * cos - odd * sin, even * sin + odd * cos}, -1).flatten(-2));
}

at::Tensor modulated_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  if (scale.size(0) == 1)  // one timestep for all tokens: scale and shift are a layer norm's weight and bias
    return at::layer_norm(wide, {x.size(-1)}, scale[0], shift[0], eps).to(x.scalar_type());
  const at::Tensor normalised = by_group(at::layer_norm(wide, {x.size(-1)}, {}, {}, eps), scale.size(0));
  return at::addcmul(shift.unsqueeze(1), normalised, scale.unsqueeze(1)).flatten(1, 2).to(x.scalar_type());
}

void add_gated_(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  const int64_t groups = gate.size(0);
  by_group(x, groups).addcmul_(by_group(y, groups), gate.unsqueeze(1));  // in fp32, as the gate is
}

void merge_attention_(at::Tensor& output, at::Tensor& weight, const at::Tensor& part, const at::Tensor& part_weight) {
  // The new part's share of the sum of exponentials, and the logarithm of that sum, without leaving the range of fp32.
  output.lerp_(part.to(at::kFloat), at::sigmoid(part_weight - weight));
  weight.copy_(at::logaddexp(weight, part_weight));
}

}  // namespace dualparal::reference
