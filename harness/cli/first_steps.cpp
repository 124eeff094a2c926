// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/first_steps.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

namespace dualparal {

std::string first_steps(const CLI::App& program) {
  std::string text = program.get_description() + R"(

A first video, from the model that comes with the program (seconds):
  dualparal generate --prompt "a red circle bounces over a dark blue background" --output first.mp4
A longer one, with DualParal on four processes of this machine:
  dualparal generate --strategy dualparal --nproc 4 --frames 257 --prompt "a green square moves to the left" --output long.mp4
From a checkpoint in diffusers layout, on a GPU:
  dualparal generate --model DIR --device cuda --dtype bf16 --prompt "a cat walks on the grass" --output cat.mp4
What this machine can do, and what it lacks:
  dualparal doctor

Commands (COMMAND --help says more):
)";
  for (const CLI::App* command : program.get_subcommands([](const CLI::App*) { return true; }))
    text += fmt::format("  {:<16} {}\n", command->get_name(), command->get_description());
  return text;
}

}  // namespace dualparal
