// SPDX-License-Identifier: Apache-2.0
#include "strategy/parallel/head_exchange.h"

#include "base/measure/nvtx.h"

namespace dualparal {

std::vector<at::Tensor> HeadExchange::to_heads(const std::vector<at::Tensor>& tensors,
                                               const std::vector<Range>& tokens) {
  const NvtxRange range("ulysses: tokens to heads");
  const at::Tensor& like = tensors.front();
  const auto split = heads(like.size(2));
  std::vector<at::Tensor> parts;
  std::vector<std::vector<int64_t>> shapes;
  for (size_t i = 0; i < ranks_.size(); ++i) {
    std::vector<at::Tensor> theirs;
    for (const at::Tensor& x : tensors) theirs.push_back(x.slice(2, split[i].begin, split[i].end));
    parts.push_back(at::stack(theirs));
    shapes.push_back(
        {static_cast<int64_t>(tensors.size()), like.size(0), tokens[i].size(), split[own_].size(), like.size(3)});
  }
  return at::cat(all_to_all(exchange_, ranks_, own_, parts, shapes), 2).unbind(0);
}

at::Tensor HeadExchange::to_tokens(const at::Tensor& attended, const std::vector<Range>& tokens, int64_t count) {
  const NvtxRange range("ulysses: heads to tokens");
  const auto split = heads(count);
  const int64_t offset = tokens.front().begin;
  std::vector<at::Tensor> parts;
  std::vector<std::vector<int64_t>> shapes;
  for (size_t i = 0; i < ranks_.size(); ++i) {
    parts.push_back(attended.slice(1, tokens[i].begin - offset, tokens[i].end - offset));
    shapes.push_back({attended.size(0), tokens[own_].size(), split[i].size(), attended.size(3)});
  }
  return at::cat(all_to_all(exchange_, ranks_, own_, parts, shapes), 2);
}

}  // namespace dualparal
