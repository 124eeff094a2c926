// SPDX-License-Identifier: Apache-2.0
#include "base/parse_json.h"

#include <string>

namespace dualparal {

void check_json_depth(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kDeepestJson)
        throw nlohmann::json::parse_error::create(
            101, i + 1, "arrays and objects nest deeper than " + std::to_string(kDeepestJson), nullptr);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

}  // namespace dualparal
