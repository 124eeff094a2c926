// SPDX-License-Identifier: Apache-2.0
// Ranks of several hosts have clocks of their own: what they are apart, so that their events can be compared.
#pragma once

#include <functional>

#include "comm/communicator.h"

namespace dualparal {

/// Seconds to add to this rank's event clock to have rank 0's, and how far off that may be.
struct ClockOffset {
  double offset_s = 0, error_s = 0;
};

/// All ranks call it together. `host`: the same text on ranks that share a clock; where all do, there is no offset and
/// no error. Else every rank reads `clock` as it leaves each of several barriers: the median difference to rank 0 is
/// the offset, half the range of the differences its error.
ClockOffset align_clock(Communicator& comm, const std::string& host, const std::function<double()>& clock);

/// Of this machine since it was started: its processes read one clock.
std::string clock_host();

}  // namespace dualparal
