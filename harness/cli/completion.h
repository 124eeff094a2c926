// SPDX-License-Identifier: Apache-2.0
// Completion of the command line in a shell, made from the program's own table of commands and flags.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace dualparal {

/// What to complete with, of every command of `program`. UsageError for another shell than these:
/// "bash", "zsh": a script for that shell to read;
/// "list": rows of command, flag, "switch" or "value", and its words between "|" where only those are allowed,
/// separated by tabs; for other programs.
std::string completion_text(const CLI::App& program, const std::string& shell);

}  // namespace dualparal
