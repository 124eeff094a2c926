// SPDX-License-Identifier: Apache-2.0
// What a message between two ranks takes, by its size.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.h"

namespace dualparal {

struct LinkSample {
  int64_t bytes = 0;
  double seconds = 0;  ///< one way: half of there and back, the median of some
};

/// What they say together: seconds = post_s + latency_s + bytes / bytes_per_s, by least squares of relative errors.
struct LinkFigures {
  std::vector<LinkSample> samples = {};
  double post_s = 0;  ///< to hand a message over
  double latency_s = 0, bytes_per_s = 0;
};

/// Both ways between ranks a and b, on Channel::kForward: Communicator::connect() needs them.
std::vector<Link> probed_links(int64_t a, int64_t b);

/// Ranks a and b bounce messages of each size; others do not take part. The figures on a, nothing elsewhere.
LinkFigures measure_link(Communicator& comm, const at::Device& device, int64_t a, int64_t b,
                         const std::vector<int64_t>& sizes);

/// From 4 KiB to 64 MiB.
std::vector<int64_t> link_sizes();

/// `samples` and `post_s` as measured, the rest fitted to them.
LinkFigures fit_link(std::vector<LinkSample> samples, double post_s);

/// A short test between two threads of this process, over Gloo on this machine: well under a second.
LinkFigures measure_gloo_here();

}  // namespace dualparal
