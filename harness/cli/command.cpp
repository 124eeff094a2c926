// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

#include <fmt/format.h>

#include <cstdio>

namespace dualparal {

int report_error(const std::string& message, int code) {
  std::fputs(fmt::format("error: {}\n", message).c_str(), stderr);  // the terminal may be gone
  return code;
}

}  // namespace dualparal
