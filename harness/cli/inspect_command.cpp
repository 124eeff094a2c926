// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

#include <CLI/CLI.hpp>
#include <memory>

#include <fmt/format.h>
#include "base/data_dir.h"
#include "harness/cli/inspect.h"

namespace dualparal {

Command inspect_command(CLI::App& program) {
  struct Flags {
    std::string checkpoint, dtype = "bf16";
    int64_t nproc = 1;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* app = program.add_subcommand("inspect", "what a checkpoint holds and what each rank would hold");
  app->add_option("checkpoint", flags->checkpoint, "folder in Hugging Face diffusers layout")->required();
  app->add_option("--nproc", flags->nproc, "ranks to split the layers over")->capture_default_str();
  app->add_option("--dtype", flags->dtype, "fp32, bf16 or fp16")->capture_default_str();
  return {app, [flags] {
            fmt::print("{}", inspect_checkpoint(project_path(flags->checkpoint), flags->nproc, flags->dtype));
            return 0;
          }};
}

}  // namespace dualparal
