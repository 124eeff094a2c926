// SPDX-License-Identifier: Apache-2.0
// How many links with NCCL a GPU can keep apart, and have running.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/errors.h"
#include "comm/communicator.h"

namespace dualparal {

/// Streams of a priority that LibTorch has on a device: more links would share them, and could wait for each other.
constexpr int64_t kMaxLinks = 32;

/// Thread blocks of a message's kernel: links run at the same time as each other and as the layers. NCCL's own variable
/// NCCL_MAX_CTAS comes before.
inline int64_t link_thread_blocks() {
  constexpr int64_t kOurs = 4;
  const char* const given = std::getenv("NCCL_MAX_CTAS");
  const int64_t blocks = given ? std::strtol(given, nullptr, 10) : 0;
  return blocks > 0 ? blocks : kOurs;
}

/// Error if `rank` has more links than a GPU can keep apart, or if receives of all of them, waiting, would leave none
/// of its `multiprocessors` to compute: a thread block of NCCL's takes a whole one, so that what they wait for might
/// never be computed.
inline void check_links_fit(const std::vector<Link>& links, int64_t rank, int64_t multiprocessors) {
  const auto own = std::ranges::count_if(links, [&](const Link& l) { return l.from == rank || l.to == rank; });
  check(own <= kMaxLinks,
        "rank {} has {} links, and a GPU can keep {} messages apart: use --backend gloo, or fewer ranks", rank, own,
        kMaxLinks);
  const auto incoming = std::ranges::count_if(links, [&](const Link& l) { return l.to == rank; });
  const int64_t blocks = link_thread_blocks();
  check(incoming * blocks < multiprocessors,
        "rank {} may receive over {} links at a time, with {} thread blocks each, and its GPU has {} multiprocessors: "
        "none would be left to compute; set NCCL_MAX_CTAS to less, or use --backend gloo",
        rank, incoming, blocks, multiprocessors);
}

}  // namespace dualparal
