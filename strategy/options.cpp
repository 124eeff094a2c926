// SPDX-License-Identifier: Apache-2.0
#include "strategy/options.h"

#include <algorithm>

#include "base/errors.h"

namespace dualparal {
namespace {

void check_value(const OptionSpec& spec, const std::string& value) {
  if (!spec.choices.empty()) {
    check_usage(std::find(spec.choices.begin(), spec.choices.end(), value) != spec.choices.end(),
                "--{}: expected {}, got '{}'", spec.name, fmt::join(spec.choices, " or "), value);
    return;
  }
  const bool digits = !value.empty() && value.size() < 10 && value.find_first_not_of("0123456789") == std::string::npos;
  check_usage(digits && std::stol(value) >= spec.minimum, "--{}: expected a whole number of at least {}, got '{}'",
              spec.name, spec.minimum, value);
}

}  // namespace

OptionValues resolve_options(const std::string& strategy, const std::vector<OptionSpec>& specs,
                             const OptionValues& given) {
  OptionValues values;
  for (const auto& spec : specs) values[spec.name] = spec.default_value;
  for (const auto& [name, value] : given) {
    const auto spec = std::find_if(specs.begin(), specs.end(), [&](const auto& s) { return s.name == name; });
    if (spec == specs.end()) {
      std::vector<std::string> known;
      for (const auto& s : specs) known.push_back("--" + s.name);
      throw UsageError(fmt::format("--{}: strategy '{}' has no such option; it has {}", name, strategy,
                                   known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", "))));
    }
    check_value(*spec, value);
    values[name] = value;
  }
  return values;
}

}  // namespace dualparal
