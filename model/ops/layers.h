// SPDX-License-Identifier: Apache-2.0
// Small building blocks shared by the transformer, the VAE and the text encoder.
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "model/checkpoint/weights.h"

namespace dualparal {

/// Reads weights below a name prefix. When not `held`, the checkpoint is checked and nothing is read.
struct WeightScope {
  WeightSource& source;
  std::string prefix;
  bool held = true;

  WeightScope operator/(const std::string& name) const { return {source, prefix + name + ".", held}; }
  WeightScope only_if(bool condition) const { return {source, prefix, held && condition}; }

  /// The weight `prefix + name`; undefined if not held.
  at::Tensor read(const std::string& name, at::IntArrayRef shape) const {
    return read(name, shape, source.placement().dtype);
  }
  at::Tensor read(const std::string& name, at::IntArrayRef shape, at::ScalarType dtype) const {
    if (held) return source.read(prefix + name, shape, dtype);
    source.skip(prefix + name, shape);
    return {};
  }
  /// Several weights stacked along their first dimension, read into one tensor: one product instead of several.
  at::Tensor read_stacked(const std::vector<std::string>& names, const std::vector<int64_t>& shape) const;
};

/// y = x W^T + b
struct Linear {
  at::Tensor weight;  ///< [out, in]
  at::Tensor bias;    ///< [out], or undefined

  Linear() = default;
  Linear(const WeightScope& scope, int64_t in, int64_t out, bool with_bias = true);
  Linear(const WeightScope& scope, int64_t in, int64_t out, at::ScalarType dtype);
  /// Layers of the same shape stacked: output [..., out * names.size()].
  static Linear stacked(const WeightScope& scope, const std::vector<std::string>& names, int64_t in, int64_t out);

  at::Tensor operator()(const at::Tensor& x) const { return at::linear(x, weight, bias); }
  /// gelu(y), its approximation by tanh: on a GPU before y is stored.
  at::Tensor gelu(const at::Tensor& x) const;
};

}  // namespace dualparal
