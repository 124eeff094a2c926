// SPDX-License-Identifier: Apache-2.0
// `dualparal doctor`: what this machine can do, and what is missing.
#pragma once

#include <string>
#include <vector>

namespace dualparal {

/// One thing that was looked at.
struct Finding {
  enum class State { kThere, kMissing, kBroken };  ///< missing: something cannot be done; broken: nothing can
  State state = State::kThere;
  std::string what;      ///< "CUDA devices"
  std::string found;     ///< what there is
  std::string how = {};  ///< what to do about it, where something is missing
};

/// Looks at processors, memory, links between ranks here, CUDA devices, the modules for them, FFmpeg's codecs and
/// models. Throws nothing.
std::vector<Finding> examine_machine();

/// A line for each, and one that says what is to be done.
std::string findings_text(const std::vector<Finding>& findings);

}  // namespace dualparal
