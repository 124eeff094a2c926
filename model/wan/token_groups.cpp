// SPDX-License-Identifier: Apache-2.0
#include "model/wan/token_groups.h"

#include <numeric>

#include "base/errors.h"

namespace dualparal {

std::vector<at::Tensor> groups_of(const std::vector<at::Tensor>& modulation, const TokenSpan& span, int64_t tokens) {
  if (modulation.empty() || modulation[0].size(0) == 1 || span.size() == tokens) return modulation;
  const int64_t groups = modulation[0].size(0), length = tokens / groups;
  check(tokens % groups == 0 && 0 <= span.begin && span.begin < span.end && span.end <= tokens,
        "tokens {}..{} of {} in {} groups of timesteps", span.begin, span.end - 1, tokens, groups);
  const int64_t part = std::gcd(std::gcd(length, span.begin), span.size());
  std::vector<int64_t> index;
  for (int64_t token = span.begin; token < span.end; token += part) index.push_back(token / length);
  const at::Tensor chosen = at::tensor(index).to(modulation[0].device());
  std::vector<at::Tensor> out;
  for (const at::Tensor& one : modulation) out.push_back(one.index_select(0, chosen));
  return out;
}

}  // namespace dualparal
