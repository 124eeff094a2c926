// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace dualparal {

/// 16 hexadecimal digits that are the same for the same text.
std::string text_hash(const std::string& text);

}  // namespace dualparal
