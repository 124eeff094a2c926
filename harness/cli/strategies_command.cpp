// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

#include <CLI/CLI.hpp>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include "harness/options/strategies.h"

namespace dualparal {

Command strategies_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("strategies", "list the strategies and their options");
  return {app, [] {
            for (const auto& entry : strategies()) {
              fmt::print("{:<16} {}\n", entry.name, entry.description);
              for (const auto& option : entry.options)
                fmt::print("  --{} {}  {} [{}]\n", option.name,
                           !option.text.empty()     ? option.text
                           : option.choices.empty() ? "N"
                                                    : fmt::format("{}", fmt::join(option.choices, "|")),
                           option.help, option.default_value);
            }
            return 0;
          }};
}

}  // namespace dualparal
