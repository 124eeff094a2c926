// SPDX-License-Identifier: Apache-2.0
// The help of `dualparal generate`: what most runs need, and what the chosen strategy adds.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace dualparal {

/// Adds --help-all. Unless it is among the arguments, leaves the flags of few runs out of the help, and shows those of
/// the strategy that the arguments name, in its own words.
void arrange_generate_help(CLI::App& generate, const std::vector<std::string>& arguments);

}  // namespace dualparal
