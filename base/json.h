// SPDX-License-Identifier: Apache-2.0
// The JSON library, with assertions that hold in every build: reading a key that a constant object lacks throws, where
// the library itself leaves a release build to undefined behaviour. Include this, never <nlohmann/json.hpp>.
#pragma once

#include <stdexcept>

#define JSON_ASSERT(condition) \
  static_cast<void>(           \
      (condition) ? 0 : throw std::logic_error("JSON: a key or value that is not there was read (" #condition ")"))

#include <nlohmann/json.hpp>
