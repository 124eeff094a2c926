// SPDX-License-Identifier: Apache-2.0
// What becomes of a rank's events, added up as they come: a long run need not keep them.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "base/json.h"
#include "comm/recorder.h"

namespace dualparal {

struct EventSums {
  /// Messages between this rank and another.
  struct Way {
    int64_t peer = 0;
    Channel channel = Channel::kForward;
    auto operator<=>(const Way&) const = default;
  };
  /// Waiting for a message. How much of it was communication, only the sender's clock tells.
  struct Wait {
    double begin_s = 0, end_s = 0;
    int64_t times = 1;
  };
  struct Span {
    double begin_s = 0, end_s = 0;
  };

  double compute_s = 0;
  double blocked_s = 0;              ///< in sends, in waits for them, and in copies to and from host memory
  double blocked_within_s = 0;       ///< of that, between the first work and the last
  double blocked_since_s = 0;        ///< of that, since the last work so far
  std::optional<Span> working = {};  ///< from the begin of the first work to the end of the last
  int64_t sent_bytes = 0;
  Work work = {};                                       ///< of all computations
  std::map<Way, std::vector<double>> sends = {};        ///< when each message was sent, in order
  std::map<Way, std::vector<Wait>> receives = {};       ///< in order
  std::vector<double> outputs = {}, video_begins = {};  ///< when latents became final; when videos of a list began

  /// The next event. It happens so many times; it is later by so much than it says.
  void add(const Event& event, int64_t times = 1, double later_s = 0);
  /// Moves and scales all its times.
  void move(const ClockLine& line);
};

nlohmann::json to_json(const EventSums& sums);
/// Error for anything that is not there or not to_json()'s.
EventSums event_sums_of(const nlohmann::json& json);

}  // namespace dualparal
