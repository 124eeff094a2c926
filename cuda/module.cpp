// SPDX-License-Identifier: Apache-2.0
// The module of CUDA kernels: a shared library beside the program, loaded when a rank computes on a CUDA device. Once
// loaded, LibTorch's dispatcher has the operators of model/ops/ops.h for CUDA, too.
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include "cuda/kernels.h"
#include "cuda/tensor_arguments.h"
#include "model/ops/kernels.h"

namespace dualparal {
namespace {

using Optional = std::optional<at::Tensor>;

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
  run(x, kernels::norm_rotary_arguments(x, scale, eps, cosines, sines, out));
  return out;
}

at::Tensor modulated_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift, double eps) {
  at::Tensor out = at::empty(x.sizes(), x.options());
  const at::Tensor scales = fp32(scale), shifts = fp32(shift);
  run(x, kernels::modulated_norm_arguments(x, scales, shifts, eps, out));
  return out;
}

at::Tensor add_gated(at::Tensor x, const at::Tensor& y, const at::Tensor& gate) {
  const at::Tensor branch = y.to(x.scalar_type()), gates = fp32(gate);
  run(x, kernels::add_gated_arguments(x, branch, gates));
  return x;
}

std::tuple<at::Tensor, at::Tensor> merge_attention(at::Tensor output, at::Tensor weight, const at::Tensor& part,
                                                   const at::Tensor& part_weight) {
  run(output, kernels::merge_attention_arguments(output, weight, part, part_weight));
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
