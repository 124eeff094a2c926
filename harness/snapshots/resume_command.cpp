// SPDX-License-Identifier: Apache-2.0
#include "harness/snapshots/resume_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "harness/snapshots/snapshot_folder.h"

namespace dualparal {
namespace {

// As a shell reads it.
std::string quoted(const std::string& text) {
  constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

std::vector<std::string> resume_arguments(std::vector<std::string> arguments, const SnapshotOptions& options) {
  const bool there = std::ranges::any_of(
      arguments, [](const std::string& text) { return text == "--resume" || text.starts_with("--resume="); });
  if (!there) arguments.insert(arguments.end(), {"--resume", options.folder});
  return arguments;
}

std::string how_to_go_on(const std::vector<std::string>& arguments, const SnapshotOptions& options) {
  if (!options.active()) return "";
  if (!SnapshotFolder(options.folder).holds_snapshots()) return "; no snapshot had been kept yet";
  std::string command = quoted(program_invocation_name);
  for (const auto& text : resume_arguments(arguments, options)) command += " " + quoted(text);
  return "; to go on: " + command;
}

}  // namespace dualparal
