// SPDX-License-Identifier: Apache-2.0
#include "harness/snapshots/resume_command.h"

#include <algorithm>
#include <cerrno>

#include "base/shell.h"
#include "harness/snapshots/snapshot_folder.h"

namespace dualparal {

std::vector<std::string> resume_arguments(std::vector<std::string> arguments, const SnapshotOptions& options) {
  const bool there = std::ranges::any_of(
      arguments, [](const std::string& text) { return text == "--resume" || text.starts_with("--resume="); });
  if (!there) arguments.insert(arguments.end(), {"--resume", options.folder});
  return arguments;
}

std::string how_to_go_on(const std::vector<std::string>& arguments, const SnapshotOptions& options) {
  if (!options.active()) return "";
  if (!SnapshotFolder(options.folder).holds_snapshots()) return "; no snapshot had been kept yet";
  std::string command = quoted_for_shell(program_invocation_name);
  for (const auto& text : resume_arguments(arguments, options)) command += " " + quoted_for_shell(text);
  return "; to go on: " + command;
}

}  // namespace dualparal
