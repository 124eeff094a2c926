// SPDX-License-Identifier: Apache-2.0
#include "model/ops/ops.h"

#include <torch/library.h>

#include "base/device.h"
#include "base/errors.h"
#include "base/measure/work_meter.h"
#include "model/ops/kernels.h"

namespace dualparal {
namespace {

using Optional = std::optional<at::Tensor>;

Optional given(const at::Tensor& x) { return x.defined() ? Optional(x) : std::nullopt; }
at::Tensor or_none(const Optional& x) { return x.value_or(at::Tensor()); }

// Whether our kernels take tokens of such numbers.
bool has_kernel(const at::Tensor& x) {
  const auto type = x.scalar_type();
  if ((type != at::kFloat && type != at::kBFloat16 && type != at::kHalf) || x.stride(-1) != 1) return false;
  const int64_t row = x.dim() == 4 ? x.size(2) * x.size(3) : x.size(2);
  return own_kernels(runs_on(x)) && (runs_on(x) == at::kCPU || row <= kLongestRow);
}

// The heads of a token side by side.
bool is_row(const at::Tensor& x) { return x.dim() == 3 || x.stride(2) == x.size(3) || x.size(2) == 1; }

void check_groups(const at::Tensor& x, const at::Tensor& groups) {
  check(x.size(1) % groups.size(0) == 0, "{} tokens cannot be split evenly over {} groups of timesteps", x.size(1),
        groups.size(0));
}

// The operators, as the dispatcher calls them.
at::Tensor norm_rotary_cpu(const at::Tensor& x, const Optional& weight, double eps, const Optional& cos,
                           const Optional& sin, at::Tensor out) {
  cpu::norm_rotary(x, or_none(weight), eps, or_none(cos), or_none(sin), out);
  return out;
}
at::Tensor norm_rotary_meta(const at::Tensor&, const Optional&, double, const Optional&, const Optional&,
                            at::Tensor out) {
  return out;
}

at::Tensor modulated_norm_cpu(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift, double eps) {
  at::Tensor out = at::empty(x.sizes(), x.options());
  cpu::modulated_norm(x, scale, shift, eps, out);
  return out;
}
at::Tensor modulated_norm_meta(const at::Tensor& x, const at::Tensor&, const at::Tensor&, double) {
  return at::empty(x.sizes(), x.options());
}

at::Tensor add_gated_cpu(at::Tensor x, const at::Tensor& y, const at::Tensor& gate) {
  cpu::add_gated_(x, y, gate);
  return x;
}
at::Tensor add_gated_meta(at::Tensor x, const at::Tensor&, const at::Tensor&) { return x; }

using Merged = std::tuple<at::Tensor, at::Tensor>;
Merged merge_attention_cpu(at::Tensor output, at::Tensor weight, const at::Tensor& part,
                           const at::Tensor& part_weight) {
  cpu::merge_attention_(output, weight, part, part_weight);
  return {output, weight};
}
Merged merge_attention_meta(at::Tensor output, at::Tensor weight, const at::Tensor&, const at::Tensor&) {
  return {output, weight};
}

template <class Signature>
auto find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

void call_norm_rotary(const at::Tensor& x, const at::Tensor& weight, double eps, const RotaryTable& table,
                      const at::Tensor& out) {
  static const auto op =
      find<at::Tensor(const at::Tensor&, const Optional&, double, const Optional&, const Optional&, at::Tensor)>(
          "dualparal::norm_rotary");
  op.call(x, given(weight), eps, given(table.cos), given(table.sin), out);
}

}  // namespace

// NOLINTNEXTLINE: the library's macro
TORCH_LIBRARY(dualparal, library) {
  library.def(
      "norm_rotary(Tensor x, Tensor? weight, float eps, Tensor? cos, Tensor? sin, *, Tensor(a!) out) -> Tensor(a!)");
  library.def("modulated_norm(Tensor x, Tensor scale, Tensor shift, float eps) -> Tensor");
  library.def("add_gated_(Tensor(a!) x, Tensor y, Tensor gate) -> Tensor(a!)");
  library.def(
      "merge_attention_(Tensor(a!) output, Tensor(b!) weight, Tensor part, Tensor part_weight) -> "
      "(Tensor(a!), Tensor(b!))");
  library.impl("norm_rotary", torch::dispatch(c10::DispatchKey::CPU, &norm_rotary_cpu));
  library.impl("norm_rotary", torch::dispatch(c10::DispatchKey::Meta, &norm_rotary_meta));
  library.impl("modulated_norm", torch::dispatch(c10::DispatchKey::CPU, &modulated_norm_cpu));
  library.impl("modulated_norm", torch::dispatch(c10::DispatchKey::Meta, &modulated_norm_meta));
  library.impl("add_gated_", torch::dispatch(c10::DispatchKey::CPU, &add_gated_cpu));
  library.impl("add_gated_", torch::dispatch(c10::DispatchKey::Meta, &add_gated_meta));
  library.impl("merge_attention_", torch::dispatch(c10::DispatchKey::CPU, &merge_attention_cpu));
  library.impl("merge_attention_", torch::dispatch(c10::DispatchKey::Meta, &merge_attention_meta));
}

void rms_norm_(at::Tensor& x, const at::Tensor& weight, double eps) {
  if (has_kernel(x)) return call_norm_rotary(x, weight, eps, {}, x);
  reference::norm_rotary(x, {weight, eps}, {}, x);
}

void apply_rotary_(at::Tensor& x, const RotaryTable& table) { norm_rotary(x, {}, table, x); }

void norm_rotary(const at::Tensor& x, const HeadNorm& norm, const RotaryTable& table, at::Tensor& out) {
  check(x.size(1) == table.tokens(), "rotary table has {} positions, expected {} (one per token)", table.tokens(),
        x.size(1));
  if (has_kernel(x) && is_row(x) && has_kernel(out) && is_row(out))
    return call_norm_rotary(x, norm.weight, norm.eps, table, out);
  reference::norm_rotary(x, norm, table, out);
}

at::Tensor modulated_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift, double eps) {
  check_groups(x, scale);
  if (!has_kernel(x)) return reference::modulated_norm(x, scale, shift, eps);
  static const auto op =
      find<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, double)>("dualparal::modulated_norm");
  return op.call(x, scale, shift, eps);
}

void add_gated_(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate) {
  check_groups(x, gate);
  if (!has_kernel(x) || !has_kernel(y)) return reference::add_gated_(x, y, gate);
  static const auto op = find<at::Tensor(at::Tensor, const at::Tensor&, const at::Tensor&)>("dualparal::add_gated_");
  op.call(x, y, gate);
}

void merge_attention_(at::Tensor& output, at::Tensor& weight, const at::Tensor& part, const at::Tensor& part_weight) {
  if (!has_kernel(output) || !has_kernel(part)) return reference::merge_attention_(output, weight, part, part_weight);
  static const auto op =
      find<Merged(at::Tensor, at::Tensor, const at::Tensor&, const at::Tensor&)>("dualparal::merge_attention_");
  op.call(output, weight, part, part_weight);
}

}  // namespace dualparal
