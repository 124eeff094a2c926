// SPDX-License-Identifier: Apache-2.0
// Texts of JSON, which come from files and other processes. The library copies and prints nested values by calling
// itself, and would run out of stack on what nests too deep: parse with this, not with the library's parse().
#pragma once

#include <string_view>

#include "base/json.h"

namespace dualparal {

constexpr int kDeepestJson = 100;  ///< no file that this program reads nests deeper than ten

/// nlohmann's parse_error if arrays and objects nest deeper than kDeepestJson.
void check_json_depth(std::string_view text);

/// The value that a text stands for. nlohmann's parse_error for what is no JSON, or nests too deep.
template <class Json = nlohmann::json>
Json parse_json(std::string_view text) {
  check_json_depth(text);
  return Json::parse(text.begin(), text.end());
}

}  // namespace dualparal
