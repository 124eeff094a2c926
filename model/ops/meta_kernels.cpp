// SPDX-License-Identifier: Apache-2.0
#include "model/ops/meta_kernels.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <memory>
#include <mutex>
#include <optional>

namespace dualparal {
namespace {

// As the CPU's kernel lays them out: output by token, log-sum-exp in fp32.
std::tuple<at::Tensor, at::Tensor> flash_attention(const at::Tensor& query, const at::Tensor& key,
                                                   const at::Tensor& value, double, bool,
                                                   const std::optional<at::Tensor>&, std::optional<double>) {
  const int64_t batch = query.size(0), heads = query.size(1), tokens = query.size(2);
  return {at::empty({batch, tokens, heads, value.size(3)}, query.options()).transpose(1, 2),
          at::empty({batch, heads, tokens}, query.options().dtype(at::kFloat))};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> layer_norm(const at::Tensor& input, c10::SymIntArrayRef normalised,
                                                          const std::optional<at::Tensor>&,
                                                          const std::optional<at::Tensor>&, double) {
  auto rows = input.sizes().vec();
  for (size_t i = rows.size() - normalised.size(); i < rows.size(); ++i) rows[i] = 1;
  const auto fp32 = input.options().dtype(at::kFloat);
  return {at::empty(input.sizes(), input.options()), at::empty(rows, fp32), at::empty(rows, fp32)};
}

}  // namespace

void register_meta_kernels() {
  static std::once_flag once;
  static std::unique_ptr<torch::Library> library;
  std::call_once(once, [] {
    library =
        std::make_unique<torch::Library>(torch::Library::IMPL, "aten", c10::DispatchKey::Meta, __FILE__, __LINE__);
    library->impl("_scaled_dot_product_flash_attention_for_cpu", &flash_attention);
    library->impl("native_layer_norm", &layer_norm);
  });
}

}  // namespace dualparal
