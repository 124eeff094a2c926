// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace dualparal {

/// What is wrong with the program's arguments that CLI11 refused, saying `reason`: a sub-command or flag that is not
/// known, with the one that was most likely meant; else `reason` itself.
std::string explain_usage(const CLI::App& program, const std::vector<std::string>& arguments,
                          const std::string& reason);

}  // namespace dualparal
