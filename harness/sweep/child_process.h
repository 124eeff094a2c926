// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace dualparal {

struct ChildResult {
  int exit_code = 0;  ///< 128 + signal number if a signal ended it
  std::string error;  ///< its last line on standard error that began with "error:", or what ended it
};

/// Runs this same program with other arguments and waits for it. Its standard error is passed through to ours unless
/// `quiet`; its standard output is dropped. If this process is killed, the child is, too.
ChildResult run_self(const std::vector<std::string>& arguments, bool quiet);

}  // namespace dualparal
