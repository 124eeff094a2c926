// SPDX-License-Identifier: Apache-2.0
// DualParal written down plainly, without queue, ranks or cache objects, and the variants that are held to it.
#pragma once

#include "dualparal/dualparal.h"
#include "tests/ranks.h"

namespace dualparal::testing {

inline constexpr int64_t kLayers = 9;  // divides by neither 2, 4 nor 8
inline const TransformerConfig kConfig = with_layers(kLayers);

struct Variant {
  const char *cache, *noise, *previous;
  int64_t context, frames;  // block-frames is 3: the last block is shorter, or there is one block
  const char* boundary = "recompute";
};
inline std::ostream& operator<<(std::ostream& out, const Variant& v) {
  return out << "cache " << v.cache << ", noise " << v.noise << ", " << v.previous << ", context " << v.context << ", "
             << v.frames << " frames, boundary " << v.boundary;
}
inline const Variant kVariants[] = {
    {"on", "on", "synchronous", 2, 13}, {"on", "off", "matched", 2, 13},   {"off", "on", "synchronous", 2, 13},
    {"off", "off", "matched", 3, 16},   {"on", "on", "synchronous", 0, 7}, {"on", "on", "synchronous", 3, 25},
    {"on", "on", "matched", 1, 1},      {"on", "on", "matched_kv", 2, 13}, {"off", "off", "matched_kv", 3, 16},
    {"on", "off", "matched_kv", 3, 25}, {"on", "on", "matched_kv", 0, 7},
};

inline OptionValues options_of(const Variant& v, const std::string& micro_batches = "1") {
  return {{"block-frames", "3"},
          {"context-frames", std::to_string(v.context)},
          {"feature-cache", v.cache},
          {"noise-sharing", v.noise},
          {"previous-context", v.previous},
          {"boundary-cache", v.boundary},
          {"guidance-micro-batches", micro_batches}};
}

/// All blocks, written down from the paper: every iteration takes every block one step, the last first.
/// noise, result: [1, channels, latent frames, h, w].
at::Tensor plain_loop(const Request& request, const Variant& variant, const at::Tensor& noise);

}  // namespace dualparal::testing
