// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "harness/cli/generate_help.h"
#include "harness/options/generate_options.h"
#include "harness/run/generate.h"

namespace dualparal {

Command generate_command(CLI::App& program, std::vector<std::string> arguments) {
  const auto options = std::make_shared<GenerateOptions>();
  CLI::App* app = program.add_subcommand("generate", "generate one video");
  add_generate_options(*app, *options);
  arrange_generate_help(*app, arguments);
  return {app, [options, arguments] {
            run_generate(*options, arguments);
            return 0;
          }};
}

}  // namespace dualparal
