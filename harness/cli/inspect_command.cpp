// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

#include <CLI/CLI.hpp>
#include <memory>

#include <fmt/format.h>
#include "base/data_dir.h"
#include "harness/cli/inspect.h"
#include "harness/options/arrangement.h"

namespace dualparal {

Command inspect_command(CLI::App& program) {
  struct Flags {
    std::string checkpoint;
    InspectOptions options;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* app = program.add_subcommand("inspect", "what a checkpoint holds and what each rank would hold");
  app->add_option("checkpoint", flags->checkpoint, "folder in Hugging Face diffusers layout")->required();
  InspectOptions& o = flags->options;
  app->add_option("--nproc", o.nproc, "ranks to split the layers over")->capture_default_str();
  app->add_option("--dtype", o.dtype, "fp32, bf16 or fp16")->capture_default_str();
  app->add_option("--partition", o.partition,
                  "layers, balanced or auto, or where stages begin, by text or file (docs/strategies.md)")
      ->capture_default_str();
  const auto size = CLI::Range(int64_t{1}, int64_t{1} << 14);
  app->add_option("--height", o.height, "pixels of the video whose work is split")->capture_default_str()->check(size);
  app->add_option("--width", o.width, "pixels")->capture_default_str()->check(size);
  app->add_option("--block-frames", o.block_frames, "latent frames of a block")->capture_default_str()->check(size);
  app->add_option("--context-frames", o.context_frames, "latent frames seen of the blocks before and behind")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 14));
  app->add_option("--device", o.device, "cpu or cuda: what the work is counted for")->capture_default_str();
  return {app, [flags] {
            flags->options.partition = partition_of(flags->options.partition);
            fmt::print("{}", inspect_checkpoint(project_path(flags->checkpoint), flags->options));
            return 0;
          }};
}

}  // namespace dualparal
