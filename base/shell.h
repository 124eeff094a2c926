// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace dualparal {

/// `text` as one word of a POSIX shell's command line, for commands that are told to users.
std::string quoted_for_shell(const std::string& text);

}  // namespace dualparal
