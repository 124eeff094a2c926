// SPDX-License-Identifier: Apache-2.0
#include "dualparal/cache_memory.h"

#include "base/measure/memory.h"

namespace dualparal {

int64_t TailsKept::bytes() const {
  int64_t numbers = 2 * count;  // keys and values
  for (const int64_t size : shape) numbers *= size;
  return numbers * static_cast<int64_t>(c10::elementSize(dtype));
}

std::vector<int64_t> attending(const LayerRange& layers) {
  std::vector<int64_t> out;
  for (int64_t layer = layers.begin; layer < layers.end; ++layer)
    if (layers.holds(layer, kSelfAttention)) out.push_back(layer);
  return out;
}

int64_t working_bytes(const Workload& work, int64_t tokens) {
  const double inner = static_cast<double>(work.config.ffn_dim) / static_cast<double>(work.config.dim());
  constexpr double kHiddenStates = 8;  // the layer's own, queries, keys and values, those put together, the output
  return static_cast<int64_t>(2 * work.hidden_bytes(static_cast<double>(tokens)) * (kHiddenStates + inner));
}

bool in_host_memory(CacheMemory asked, const TailsKept& tails, int64_t working_bytes, const at::Device& device) {
  if (asked != CacheMemory::kAuto) return asked == CacheMemory::kHost;
  const int64_t free = free_device_bytes(device);
  return free >= 0 && free < tails.bytes() + working_bytes;
}

}  // namespace dualparal
