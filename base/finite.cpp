// SPDX-License-Identifier: Apache-2.0
#include "base/finite.h"

#include <algorithm>

#include "base/errors.h"

namespace dualparal {
namespace {

constexpr int64_t kNumbersAtOnce = 1 << 20;  // on a CPU, a sum of halves takes a copy in fp32: this bounds it

// NaN and infinity stay in a sum, and it is one pass without a temporary of the tensor's size. The sum of large finite
// numbers may overflow: only then each one is looked at.
bool piece_finite(const at::Tensor& piece) {
  const at::ScalarType wide = piece.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return std::isfinite(at::sum(piece, wide).item<double>()) || at::isfinite(piece).all().item<bool>();
}

}  // namespace

bool all_finite(const at::Tensor& tensor) {
  if (!tensor.is_floating_point() || tensor.is_meta() || tensor.numel() == 0) return true;
  if (!tensor.is_cpu() || tensor.dim() == 0) return piece_finite(tensor);
  const int64_t rows = std::max<int64_t>(1, kNumbersAtOnce * tensor.size(0) / tensor.numel());
  for (int64_t row = 0; row < tensor.size(0); row += rows)
    if (!piece_finite(tensor.slice(0, row, row + rows))) return false;
  return true;
}

void check_finite(const at::Tensor& tensor, const std::string& what) {
  if (all_finite(tensor)) return;
  const at::Tensor first = at::nonzero(at::isfinite(tensor).logical_not())[0].cpu().contiguous();
  std::vector<int64_t> place(first.const_data_ptr<int64_t>(), first.const_data_ptr<int64_t>() + first.numel());
  at::Tensor number = tensor;
  for (const int64_t index : place) number = number[index];
  fail("{}: {} at [{}], expected finite numbers", what, number.item<double>(), fmt::join(place, ", "));
}

}  // namespace dualparal
