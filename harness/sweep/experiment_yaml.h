// SPDX-License-Identifier: Apache-2.0
// The values of an experiment file: flags of `generate`, lists of their values, conditions on them. All throw
// UsageError that names file and line.
#pragma once

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "harness/sweep/experiment.h"

namespace dualparal {

/// Crossed with one another: each flag's values in turn.
using Sweep = std::vector<std::pair<std::string, std::vector<std::string>>>;

class ExperimentYaml {
 public:
  explicit ExperimentYaml(const std::filesystem::path& file);

  const std::string& file() const { return file_; }
  /// file:line of a node, for errors.
  std::string at(const YAML::Node& node) const;
  void check_key(const YAML::Node& node, const std::set<std::string>& known) const;
  std::string scalar(const YAML::Node& node) const;
  int64_t number(const YAML::Node& node, int64_t minimum, int64_t most = 10'000) const;
  /// A flag that `generate` has and that bench does not set itself.
  std::string flag_name(const YAML::Node& node) const;
  Flags flags(const YAML::Node& node) const;
  Sweep sweep(const YAML::Node& node) const;
  /// true, false, or a map of flags with the values for which it is true.
  bool wanted(const Point& point, const YAML::Node& node) const;
  /// Whether the flags have these values.
  bool matches(const Flags& flags, const YAML::Node& when) const;

 private:
  std::string file_;
  std::set<std::string> known_flags_;
};

}  // namespace dualparal
