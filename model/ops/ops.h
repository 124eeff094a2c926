// SPDX-License-Identifier: Apache-2.0
// Element-wise parts of a transformer layer, each one pass over memory where the device has a kernel for it
// (CPU: ops_cpu.cpp; GPU: LibTorch's own), else ATen operations. What the reference computes in fp32 is computed in
// fp32 here.
#pragma once

#include <ATen/ATen.h>

#include "model/ops/rotary.h"

namespace dualparal {

/// x / rms(x) * weight over the last dimension, in place. x: [batch, tokens, dim], rows may be strided;
/// weight: [dim]. (diffusers: qk_norm = rms_norm_across_heads)
void rms_norm_(at::Tensor& x, const at::Tensor& weight, double eps);

/// Rotates each pair of neighbouring channels by its position's angle, in place, in fp32.
/// x: [batch, tokens, heads, head_dim]. (diffusers: WanAttnProcessor)
void apply_rotary_(at::Tensor& x, const RotaryTable& table);

/// layer_norm(x) * scale + shift, computed in fp32, in x's dtype. x: [batch, tokens, dim];
/// scale, shift: [groups, dim] fp32, tokens split evenly over the groups.
at::Tensor modulated_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift, double eps);

/// x += y * gate, computed in fp32, in place. x, y: [batch, tokens, dim]; gate: [groups, dim] fp32.
void add_gated_(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate);

namespace cpu {
void rms_norm_(at::Tensor& x, const at::Tensor& weight, double eps);
void apply_rotary_(at::Tensor& x, const RotaryTable& table);
void add_gated_(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate);
}  // namespace cpu

/// By operations of LibTorch that are one kernel each on a GPU.
namespace cuda {
void rms_norm_(at::Tensor& x, const at::Tensor& weight, double eps);
void add_gated_(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate);
}  // namespace cuda

/// The same by plain ATen operations: what other devices use and what the kernels are tested against.
namespace reference {
void rms_norm_(at::Tensor& x, const at::Tensor& weight, double eps);
void apply_rotary_(at::Tensor& x, const RotaryTable& table);
void add_gated_(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate);
}  // namespace reference

}  // namespace dualparal
