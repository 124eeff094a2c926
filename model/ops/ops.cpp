// SPDX-License-Identifier: Apache-2.0
#include "model/ops/ops.h"

#include "base/device.h"
#include "base/errors.h"
#include "base/measure/work_meter.h"

namespace dualparal {
namespace {

bool has_cpu_kernel(const at::Tensor& x) {
  return runs_on(x) == at::kCPU && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         x.stride(-1) == 1;
}

// [batch, tokens, dim] -> [batch, groups, tokens / groups, dim], a view.
at::Tensor by_group(const at::Tensor& x, int64_t groups) {
  check(x.size(1) % groups == 0, "{} tokens cannot be split evenly over {} groups of timesteps", x.size(1), groups);
  return x.unflatten(1, {groups, x.size(1) / groups});
}

// Runs a kernel of ours, which no dispatcher sees, and notes what it moves. Meta tensors have nothing to run it on.
template <class Kernel>
void run_kernel(const at::Tensor& x, size_t moved_bytes, Kernel&& kernel) {
  WorkMeter::note_kernel(static_cast<int64_t>(moved_bytes));
  if (!x.is_meta()) kernel();
}

}  // namespace

void rms_norm_(at::Tensor& x, const at::Tensor& weight, double eps) {
  if (runs_on(x) == at::kCUDA && x.scalar_type() == weight.scalar_type()) return cuda::rms_norm_(x, weight, eps);
  if (!has_cpu_kernel(x)) return reference::rms_norm_(x, weight, eps);
  run_kernel(x, 2 * x.nbytes(), [&] { cpu::rms_norm_(x, weight, eps); });
}

void apply_rotary_(at::Tensor& x, const RotaryTable& table) {
  check(x.size(1) == table.tokens(), "rotary table has {} positions, expected {} (one per token)", table.tokens(),
        x.size(1));
  if (!has_cpu_kernel(x)) return reference::apply_rotary_(x, table);
  run_kernel(x, 2 * x.nbytes() + table.cos.nbytes() + table.sin.nbytes(), [&] { cpu::apply_rotary_(x, table); });
}

void add_gated_(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  check(x.size(1) % gate.size(0) == 0, "{} tokens cannot be split evenly over {} groups of timesteps", x.size(1),
        gate.size(0));
  if (runs_on(x) == at::kCUDA) return cuda::add_gated_(x, y, gate);
  if (!has_cpu_kernel(x) || !x.is_contiguous() || !y.is_contiguous()) return reference::add_gated_(x, y, gate);
  run_kernel(x, 2 * x.nbytes() + y.nbytes(), [&] { cpu::add_gated_(x, y, gate); });
}

at::Tensor modulated_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift, double eps) {
  const int64_t dim = x.size(-1);
  if (scale.size(0) == 1) {
    // One timestep for all tokens: scale and shift are a layer norm's weight and bias.
    if (runs_on(x) == at::kCPU || x.scalar_type() == at::kFloat)
      return at::layer_norm(x, {dim}, scale[0], shift[0], eps);
    return at::layer_norm(x.to(at::kFloat), {dim}, scale[0], shift[0], eps).to(x.scalar_type());
  }
  const at::Tensor normalised = by_group(at::layer_norm(x.to(at::kFloat), {dim}, {}, {}, eps), scale.size(0));
  return at::addcmul(shift.unsqueeze(1), normalised, scale.unsqueeze(1)).flatten(1, 2).to(x.scalar_type());
}

namespace cuda {

void rms_norm_(at::Tensor& x, const at::Tensor& weight, double eps) {
  at::Tensor normalised;
  if (x.is_meta()) {  // there LibTorch would split it into the operations of `reference`
    WorkMeter::note_kernel(static_cast<int64_t>(2 * x.nbytes()));
    normalised = at::empty_like(x);
  } else {
    normalised = at::rms_norm(x, {x.size(-1)}, weight, eps);
  }
  x.copy_(normalised);
}

void add_gated_(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  const int64_t groups = gate.size(0);
  by_group(x, groups).addcmul_(by_group(y, groups), gate.unsqueeze(1));  // in fp32, as the gate is
}

}  // namespace cuda

namespace reference {

void rms_norm_(at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  x.copy_(wide * at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + eps) * weight);
}

void apply_rotary_(at::Tensor& x, const RotaryTable& table) {
  const at::Tensor pairs = x.to(at::kFloat).unflatten(-1, {-1, 2});  // [batch, tokens, heads, head_dim / 2, 2]
  const at::Tensor even = pairs.select(-1, 0), odd = pairs.select(-1, 1);
  const at::Tensor cos = table.cos.unsqueeze(1), sin = table.sin.unsqueeze(1);  // [tokens, 1, head_dim / 2]
  x.copy_(at::stack({even * cos - odd * sin, even * sin + odd * cos}, -1).flatten(-2));
}

void add_gated_(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  const int64_t groups = gate.size(0);
  x.copy_(at::addcmul(by_group(x.to(at::kFloat), groups), by_group(y.to(at::kFloat), groups), gate.unsqueeze(1))
              .flatten(1, 2));
}

}  // namespace reference
}  // namespace dualparal
