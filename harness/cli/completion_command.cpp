// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "harness/cli/completion.h"

namespace dualparal {

Command completion_command(CLI::App& program) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* app = program.add_subcommand("completion", "what completes commands and flags in a shell");
  app->add_option("shell", *shell,
                  "bash or zsh: a script for it, to be read as `. <(dualparal completion bash)`; list: a table")
      ->required();
  return {app, [shell, &program] {
            fmt::print("{}", completion_text(program, *shell));
            return 0;
          }};
}

}  // namespace dualparal
