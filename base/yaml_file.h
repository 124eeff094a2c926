// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <yaml-cpp/yaml.h>

#include <string>

#include "base/errors.h"
#include "base/files.h"

namespace dualparal {

/// A YAML file's root. Error if it cannot be read, UsageError that names file and line of what is no YAML.
inline YAML::Node load_yaml(const std::string& file) {
  const std::string text = read_file(file);
  try {
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    throw UsageError(fmt::format("{}:{}: not valid YAML: {}", file, error.mark.line + 1, error.msg));
  }
}

}  // namespace dualparal
