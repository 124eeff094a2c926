// SPDX-License-Identifier: Apache-2.0
// A strategy's own options: fields of a struct, each declared once with its flag, help and default; read from flags and
// experiment files alike.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace dualparal {

struct OptionSpec {
  std::string name;  ///< as on the command line, without "--"
  std::string help;  ///< meaning and unit
  std::string default_value;
  std::vector<std::string> choices;  ///< empty: a whole number of at least `minimum`, or `text`
  int64_t minimum = 0;
  std::string text = {};  ///< not empty: any text, of this form; who uses it checks it
};

/// Values by option name; what was not given has its default.
using OptionValues = std::map<std::string, std::string>;

/// Ties flags to the fields of an options struct, whose values at that moment are the defaults.
class OptionSet {
 public:
  /// A whole number of at least `minimum`.
  void number(std::string name, int64_t& field, std::string help, int64_t minimum = 0);
  /// A text, of this form ("layers|..."). Its user refuses what it cannot be.
  void text(std::string name, std::string& field, std::string help, std::string form);
  /// "on" or "off".
  void toggle(std::string name, bool& field, std::string help);
  /// One of several words, each with its value.
  template <class Value>
  void choice(std::string name, Value& field, std::string help, std::vector<std::pair<std::string, Value>> choices) {
    OptionSpec spec{std::move(name), std::move(help), {}, {}};
    for (const auto& [word, value] : choices) {
      spec.choices.push_back(word);
      if (value == field) spec.default_value = word;
    }
    add(std::move(spec), [&field, choices](const std::string& given) {
      for (const auto& [word, value] : choices)
        if (word == given) field = value;
    });
  }

  const std::vector<OptionSpec>& specs() const { return specs_; }
  /// Sets every field from resolve_options()' values.
  void assign(const OptionValues& values) const;

 private:
  void add(OptionSpec spec, std::function<void(const std::string&)> set);

  std::vector<OptionSpec> specs_;
  std::vector<std::function<void(const std::string&)>> setters_;
};

/// Checks `given` against `specs` (of strategy `strategy`) and fills in defaults. UsageError for an option that the
/// strategy does not have, or a value that it cannot take.
OptionValues resolve_options(const std::string& strategy, const std::vector<OptionSpec>& specs,
                             const OptionValues& given);

}  // namespace dualparal
