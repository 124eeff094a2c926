// SPDX-License-Identifier: Apache-2.0
// The module of CUDA kernels: a shared library beside the program, loaded when a rank computes on a CUDA device. Once
// loaded, LibTorch's dispatcher has the operators of model/ops/ops.h for CUDA, too.
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include "cuda/kernels.h"
#include "model/ops/kernels.h"

namespace dualparal {
namespace {

using kernels::Number;
using kernels::Rows;
using Optional = std::optional<at::Tensor>;

Number number_of(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat:
      return Number::kFp32;
    case at::kBFloat16:
      return Number::kBf16;
    case at::kHalf:
      return Number::kFp16;
    default:
      TORCH_CHECK(false, "kernels: expected fp32, bf16 or fp16, got ", x.scalar_type());
  }
}

Rows rows_of(const at::Tensor& x) { return {x.stride(0), x.stride(1)}; }

// Numbers of a token.
int count_of(const at::Tensor& x) { return static_cast<int>(x.dim() == 4 ? x.size(2) * x.size(3) : x.size(2)); }

// Contiguous and in fp32, as the kernels read what is small. Held by the caller until the launch; the allocator gives
// memory to later work of the same stream alone.
at::Tensor fp32(const at::Tensor& x) { return x.to(at::kFloat).contiguous(); }

template <class Arguments>
void run(const at::Tensor& x, const Arguments& arguments) {
  const c10::cuda::CUDAGuard guard(x.device());
  C10_CUDA_CHECK(kernels::launch(arguments, at::cuda::getCurrentCUDAStream()));
}

at::Tensor norm_rotary(const at::Tensor& x, const Optional& weight, double eps, const Optional& cos,
                       const Optional& sin, at::Tensor out) {
  TORCH_CHECK(x.sizes() == out.sizes() && x.scalar_type() == out.scalar_type(), "norm_rotary: x and out differ");
  const at::Tensor scale = weight ? weight->to(x.scalar_type()).contiguous() : at::Tensor();
  const at::Tensor cosines = cos ? fp32(*cos) : at::Tensor(), sines = sin ? fp32(*sin) : at::Tensor();
  run(x, kernels::NormRotary{.number = number_of(x),
                             .batch = x.size(0),
                             .tokens = x.size(1),
                             .count = count_of(x),
                             .head_dim = static_cast<int>(x.size(-1)),
                             .x = x.const_data_ptr(),
                             .out = out.mutable_data_ptr(),
                             .x_rows = rows_of(x),
                             .out_rows = rows_of(out),
                             .weight = weight ? scale.const_data_ptr() : nullptr,
                             .eps = static_cast<float>(eps),
                             .cos = cos ? cosines.const_data_ptr<float>() : nullptr,
                             .sin = sin ? sines.const_data_ptr<float>() : nullptr});
  return out;
}

at::Tensor modulated_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift, double eps) {
  at::Tensor out = at::empty(x.sizes(), x.options());
  const at::Tensor scales = fp32(scale), shifts = fp32(shift);
  run(x, kernels::ModulatedNorm{.number = number_of(x),
                                .batch = x.size(0),
                                .tokens = x.size(1),
                                .count = count_of(x),
                                .group_tokens = static_cast<int>(x.size(1) / scale.size(0)),
                                .x = x.const_data_ptr(),
                                .out = out.mutable_data_ptr(),
                                .x_rows = rows_of(x),
                                .out_rows = rows_of(out),
                                .scale = scales.const_data_ptr<float>(),
                                .shift = shifts.const_data_ptr<float>(),
                                .eps = static_cast<float>(eps)});
  return out;
}

at::Tensor add_gated(at::Tensor x, const at::Tensor& y, const at::Tensor& gate) {
  const at::Tensor branch = y.to(x.scalar_type()), gates = fp32(gate);
  run(x, kernels::AddGated{.number = number_of(x),
                           .batch = x.size(0),
                           .tokens = x.size(1),
                           .count = count_of(x),
                           .group_tokens = static_cast<int>(x.size(1) / gate.size(0)),
                           .x = x.mutable_data_ptr(),
                           .y = branch.const_data_ptr(),
                           .x_rows = rows_of(x),
                           .y_rows = rows_of(branch),
                           .gate = gates.const_data_ptr<float>()});
  return x;
}

std::tuple<at::Tensor, at::Tensor> merge_attention(at::Tensor output, at::Tensor weight, const at::Tensor& part,
                                                   const at::Tensor& part_weight) {
  run(output, kernels::MergeAttention{.number = number_of(part),
                                      .batch = output.size(0),
                                      .tokens = output.size(1),
                                      .heads = static_cast<int>(output.size(2)),
                                      .head_dim = static_cast<int>(output.size(3)),
                                      .output = output.mutable_data_ptr<float>(),
                                      .weight = weight.mutable_data_ptr<float>(),
                                      .part = part.const_data_ptr(),
                                      .part_weight = part_weight.const_data_ptr<float>(),
                                      .output_rows = rows_of(output),
                                      .weight_rows = rows_of(weight),
                                      .part_rows = rows_of(part),
                                      .part_weight_rows = rows_of(part_weight),
                                      .output_head = output.stride(2),
                                      .weight_head = weight.stride(2),
                                      .part_head = part.stride(2),
                                      .part_weight_head = part_weight.stride(2)});
  return {output, weight};
}

const char* refusal(int device_index) {
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_index));
  const cudaError_t error = kernels::find_code();
  if (error == cudaSuccess) return nullptr;
  cudaGetLastError();  // it is told, and must not be found by the next call
  return cudaGetErrorString(error);
}

}  // namespace

// NOLINTNEXTLINE: the library's macro
TORCH_LIBRARY_IMPL(dualparal, CUDA, library) {
  library.impl("norm_rotary", &norm_rotary);
  library.impl("modulated_norm", &modulated_norm);
  library.impl("add_gated_", &add_gated);
  library.impl("merge_attention_", &merge_attention);
}

}  // namespace dualparal

extern "C" __attribute__((visibility("default"))) const dualparal::KernelModule* dualparal_cuda_module() {
  static const dualparal::KernelModule module{DUALPARAL_VERSION, dualparal::refusal};
  return &module;
}
