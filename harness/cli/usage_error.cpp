// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/usage_error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/nearest.h"

namespace dualparal {
namespace {

// Empty if the sub-command knows all flags.
std::string unknown_flag(const CLI::App& command, std::vector<std::string>::const_iterator begin,
                         std::vector<std::string>::const_iterator end) {
  std::vector<std::string> known;
  for (const auto* option : command.get_options())
    for (const auto& name : option->get_lnames()) known.push_back("--" + name);
  for (auto argument = begin; argument != end && *argument != "--"; ++argument) {
    const std::string flag = argument->substr(0, argument->find('='));
    if (flag.starts_with("--") && std::ranges::find(known, flag) == known.end())
      return fmt::format("'{}' has no flag {}{}; {} --help lists them", command.get_name(), flag,
                         did_you_mean(flag, known), command.get_name());
  }
  return "";
}

}  // namespace

std::string explain_usage(const CLI::App& program, const std::vector<std::string>& arguments,
                          const std::string& reason) {
  const auto first = std::ranges::find_if(arguments, [](const auto& text) { return !text.starts_with('-'); });
  std::vector<std::string> commands;
  const CLI::App* command = nullptr;
  for (const auto* candidate : program.get_subcommands([](const CLI::App*) { return true; })) {
    commands.push_back(candidate->get_name());
    if (first != arguments.end() && candidate->get_name() == *first) command = candidate;
  }
  if (first == arguments.end()) return fmt::format("{}; there are: {}", reason, fmt::join(commands, ", "));
  if (!command)
    return fmt::format("no sub-command '{}'{}; there are: {}", *first, did_you_mean(*first, commands),
                       fmt::join(commands, ", "));
  const std::string flag = unknown_flag(*command, first + 1, arguments.end());
  return flag.empty() ? fmt::format("{} (see {} --help)", reason, *first) : flag;
}

}  // namespace dualparal
