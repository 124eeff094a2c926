// SPDX-License-Identifier: Apache-2.0
// A strategy's own options: declared once, with help and default; read from flags and experiment files alike.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace dualparal {

struct OptionSpec {
  std::string name;                  ///< as on the command line, without "--"
  std::string help;                  ///< meaning and unit
  std::string default_value;
  std::vector<std::string> choices;  ///< empty: a whole number of at least `minimum`
  long minimum = 0;
};

/// Values by option name; what was not given has its default.
using OptionValues = std::map<std::string, std::string>;

/// Checks `given` against `specs` (of strategy `strategy`) and fills in defaults. UsageError for an option that the
/// strategy does not have, or a value that it cannot take.
OptionValues resolve_options(const std::string& strategy, const std::vector<OptionSpec>& specs,
                             const OptionValues& given);

}  // namespace dualparal
