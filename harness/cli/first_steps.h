// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace dualparal {

/// What `dualparal` says when nothing was asked of it: what to do first, and which commands there are.
std::string first_steps(const CLI::App& program);

}  // namespace dualparal
