// SPDX-License-Identifier: Apache-2.0
#include "harness/sweep/experiment_yaml.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/errors.h"
#include "base/nearest.h"
#include "harness/options/generate_options.h"

namespace dualparal {
namespace {

// Flags that bench itself sets.
const std::set<std::string> kReserved = {
    "result",     "output",      "strategy",           "quiet",    "save-latents",
    "save-noise", "save-frames", "save-prompt-embeds", "timeline", "reference-latents",
    "traces"};

constexpr size_t kLongestValue = 100'000;  // Linux takes arguments of up to 128 KiB

}  // namespace

ExperimentYaml::ExperimentYaml(const std::filesystem::path& file) : file_(file.string()) {
  GenerateOptions options;
  CLI::App app;
  add_generate_options(app, options);
  for (const auto* option : app.get_options())
    for (const auto& name : option->get_lnames()) known_flags_.insert(name);
}

std::string ExperimentYaml::at(const YAML::Node& node) const {
  return fmt::format("{}:{}", file_, node.Mark().line + 1);
}

void ExperimentYaml::check_key(const YAML::Node& node, const std::set<std::string>& known) const {
  const std::string key = scalar(node);
  check_usage(known.contains(key), "{}: unknown key '{}'{}; there are: {}", at(node), key,
              did_you_mean(key, {known.begin(), known.end()}), fmt::join(known, ", "));
}

std::string ExperimentYaml::scalar(const YAML::Node& node) const {
  check_usage(node.IsScalar(), "{}: expected a single value", at(node));
  auto value = node.as<std::string>();
  check_usage(
      value.size() <= kLongestValue && value.find('\0') == std::string::npos,
      "{}: a value of {} bytes, expected at most {} and none that is zero: no program can be started with another",
      at(node), value.size(), kLongestValue);
  return value;
}

int64_t ExperimentYaml::number(const YAML::Node& node, int64_t minimum, int64_t most) const {
  try {
    const auto value = node.as<int64_t>();
    check_usage(value >= minimum && value <= most, "{}: expected a number of at least {} and at most {}, got {}",
                at(node), minimum, most, value);
    return value;
  } catch (const YAML::Exception&) {
    throw UsageError(fmt::format("{}: expected a number", at(node)));
  }
}

std::string ExperimentYaml::flag_name(const YAML::Node& node) const {
  std::string name = scalar(node);
  std::replace(name.begin(), name.end(), '_', '-');
  check_usage(known_flags_.contains(name), "{}: 'generate' has no flag --{}{}", at(node), name,
              did_you_mean(name, {known_flags_.begin(), known_flags_.end()}));
  check_usage(!kReserved.contains(name), "{}: --{} is set by bench itself", at(node), name);
  return name;
}

Flags ExperimentYaml::flags(const YAML::Node& node) const {
  Flags result;
  if (!node) return result;
  check_usage(node.IsMap(), "{}: expected a map of flags", at(node));
  for (const auto& item : node) result[flag_name(item.first)] = scalar(item.second);
  return result;
}

Sweep ExperimentYaml::sweep(const YAML::Node& node) const {
  Sweep result;
  if (!node) return result;
  check_usage(node.IsMap(), "{}: expected a map of flags to lists", at(node));
  for (const auto& item : node) {
    check_usage(item.second.IsSequence() && item.second.size() > 0, "{}: expected a list of values", at(item.second));
    std::vector<std::string> values;
    for (const auto& value : item.second) values.push_back(scalar(value));
    result.emplace_back(flag_name(item.first), std::move(values));
  }
  return result;
}

bool ExperimentYaml::wanted(const Point& point, const YAML::Node& node) const {
  if (!node) return false;
  if (node.IsMap()) return matches(point.flags, node);
  bool value = false;
  check_usage(YAML::convert<bool>::decode(node, value), "{}: expected true, false, or a map of flags", at(node));
  return value;
}

bool ExperimentYaml::matches(const Flags& flags, const YAML::Node& when) const {
  for (const auto& item : when) {
    const std::string name = scalar(item.first) == "strategy" ? "strategy" : flag_name(item.first);
    const auto value = flags.find(name);
    std::set<std::string> accepted;
    if (item.second.IsSequence())
      for (const auto& one : item.second) accepted.insert(scalar(one));
    else
      accepted.insert(scalar(item.second));
    if (value == flags.end() || !accepted.contains(value->second)) return false;
  }
  return true;
}

}  // namespace dualparal
