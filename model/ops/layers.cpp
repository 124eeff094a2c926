// SPDX-License-Identifier: Apache-2.0
#include "model/ops/layers.h"

#include "base/device.h"
#include "model/ops/kernels.h"

namespace dualparal {

at::Tensor WeightScope::read_stacked(const std::vector<std::string>& names, const std::vector<int64_t>& shape) const {
  if (!held) {
    for (const auto& name : names) source.skip(prefix + name, shape);
    return {};
  }
  std::vector<int64_t> stacked = shape;
  stacked[0] *= static_cast<int64_t>(names.size());
  at::Tensor target = source.allocate(stacked, source.placement().dtype);
  for (size_t i = 0; i < names.size(); ++i) {
    const auto begin = static_cast<int64_t>(i) * shape[0];
    source.read_into(prefix + names[i], target.slice(0, begin, begin + shape[0]));
  }
  return target;
}

Linear::Linear(const WeightScope& scope, int64_t in, int64_t out, bool with_bias)
    : weight(scope.read("weight", {out, in})), bias(with_bias ? scope.read("bias", {out}) : at::Tensor()) {}

Linear::Linear(const WeightScope& scope, int64_t in, int64_t out, at::ScalarType dtype)
    : weight(scope.read("weight", {out, in}, dtype)), bias(scope.read("bias", {out}, dtype)) {}

Linear Linear::stacked(const WeightScope& scope, const std::vector<std::string>& names, int64_t in, int64_t out) {
  std::vector<std::string> weights, biases;
  for (const auto& name : names) {
    weights.push_back(name + ".weight");
    biases.push_back(name + ".bias");
  }
  Linear linear;
  linear.weight = scope.read_stacked(weights, {out, in});
  linear.bias = scope.read_stacked(biases, {out});
  return linear;
}

at::Tensor Linear::gelu(const at::Tensor& x) const {
  if (runs_on(x) == at::kCUDA && own_kernels(at::kCUDA) && bias.defined()) {
    const at::Tensor rows = x.flatten(0, -2);  // [tokens, in]
    auto shape = x.sizes().vec();
    shape.back() = weight.size(0);
    return at::_addmm_activation(bias, rows, weight.t(), 1, 1, /*use_gelu=*/true).view(shape);
  }
  at::Tensor y = (*this)(x);
  return at::gelu_(y, "tanh");
}

}  // namespace dualparal
