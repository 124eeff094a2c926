// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "harness/run/comparing.h"

namespace dualparal {

Command compare_command(CLI::App& program) {
  const auto options = std::make_shared<CompareOptions>();
  CLI::App* app = program.add_subcommand("compare", "PSNR, SSIM and latent error of two videos, from their latents");
  add_compare_options(*app, *options);
  return {app, [options] {
            run_compare(*options);
            return 0;
          }};
}

}  // namespace dualparal
