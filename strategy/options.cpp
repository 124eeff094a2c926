// SPDX-License-Identifier: Apache-2.0
#include "strategy/options.h"

#include <algorithm>

#include "base/errors.h"
#include "base/nearest.h"

namespace dualparal {
namespace {

void check_value(const OptionSpec& spec, const std::string& value) {
  if (!spec.text.empty()) return;
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

void OptionSet::number(std::string name, int64_t& field, std::string help, int64_t minimum) {
  add({std::move(name), std::move(help), std::to_string(field), {}, minimum},
      [&field](const std::string& value) { field = std::stol(value); });
}

void OptionSet::text(std::string name, std::string& field, std::string help, std::string form) {
  OptionSpec spec{std::move(name), std::move(help), field, {}};
  spec.text = std::move(form);
  add(std::move(spec), [&field](const std::string& value) { field = value; });
}

void OptionSet::toggle(std::string name, bool& field, std::string help) {
  choice<bool>(std::move(name), field, std::move(help), {{"on", true}, {"off", false}});
}

void OptionSet::add(OptionSpec spec, std::function<void(const std::string&)> set) {
  specs_.push_back(std::move(spec));
  setters_.push_back(std::move(set));
}

void OptionSet::assign(const OptionValues& values) const {
  for (size_t i = 0; i < specs_.size(); ++i) setters_[i](values.at(specs_[i].name));
}

OptionValues resolve_options(const std::string& strategy, const std::vector<OptionSpec>& specs,
                             const OptionValues& given) {
  OptionValues values;
  for (const auto& spec : specs) values[spec.name] = spec.default_value;
  for (const auto& [name, value] : given) {
    const auto spec = std::find_if(specs.begin(), specs.end(), [&](const auto& s) { return s.name == name; });
    if (spec == specs.end()) {
      std::vector<std::string> known;
      for (const auto& s : specs) known.push_back("--" + s.name);
      throw UsageError(fmt::format("--{}: strategy '{}' has no such option{}; it has {}", name, strategy,
                                   did_you_mean("--" + name, known),
                                   known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", "))));
    }
    check_value(*spec, value);
    values[name] = value;
  }
  return values;
}

}  // namespace dualparal
