// SPDX-License-Identifier: Apache-2.0
// Element-wise parts of a transformer layer, each one pass over memory: operators of our own in LibTorch's dispatcher
// (namespace dualparal), for CPUs (ops_cpu.cpp), for CUDA devices (cuda/, a module loaded at run time), and for shapes
// alone, so that a trace counts what would run. Elsewhere, and without the module, operations of ATen. What the
// reference computes in fp32 is computed in fp32 here, and rounded once.
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

/// The weight of an RMS norm over all heads of a token, and what is added to the mean; undefined: none is left to do.
struct HeadNorm {
  at::Tensor weight = {};  ///< [heads * head_dim]
  double eps = 0;
};
/// Both in one pass: normalises, then rotates. x, out: [batch, tokens, heads, head_dim] of one dtype, the same tensor
/// or apart.
void norm_rotary(const at::Tensor& x, const HeadNorm& norm, const RotaryTable& table, at::Tensor& out);

/// layer_norm(x) * scale + shift, computed in fp32, in x's dtype. x: [batch, tokens, dim];
/// scale, shift: [groups, dim] fp32, tokens split evenly over the groups.
at::Tensor modulated_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift, double eps);

/// x += y * gate, computed in fp32, in place. x, y: [batch, tokens, dim]; gate: [groups, dim] fp32.
void add_gated_(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate);

/// Attention over further keys joins what is there, in place. output: [batch, tokens, heads, head_dim] fp32, weight:
/// log-sum-exp of its scores, [batch, tokens, heads, 1] fp32, -inf where nothing has been seen; part, part_weight: the
/// same of the further keys, part in any dtype.
void merge_attention_(at::Tensor& output, at::Tensor& weight, const at::Tensor& part, const at::Tensor& part_weight);

/// Rows shared by a GPU's threads are no longer than this: longer ones go the way of ATen.
constexpr int64_t kLongestRow = 8192;

/// The CPU's kernels. out is given, and may be x.
namespace cpu {
void norm_rotary(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& cos,
                 const at::Tensor& sin, at::Tensor& out);
void modulated_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift, double eps, at::Tensor& out);
void add_gated_(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate);
void merge_attention_(at::Tensor& output, at::Tensor& weight, const at::Tensor& part, const at::Tensor& part_weight);
}  // namespace cpu

/// By operations of LibTorch: what other devices use, and what the kernels are tested against.
namespace reference {
void norm_rotary(const at::Tensor& x, const HeadNorm& norm, const RotaryTable& table, at::Tensor& out);
at::Tensor modulated_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift, double eps);
void add_gated_(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate);
void merge_attention_(at::Tensor& output, at::Tensor& weight, const at::Tensor& part, const at::Tensor& part_weight);
}  // namespace reference

}  // namespace dualparal
