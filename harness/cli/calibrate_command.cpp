// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "harness/simulator/calibrate.h"

namespace dualparal {

Command calibrate_command(CLI::App& program) {
  const auto options = std::make_shared<CalibrateOptions>();
  CLI::App* app = program.add_subcommand("calibrate", "fit a cluster's efficiency to measured traces");
  app->add_option("traces", options->traces, "folders that `generate --traces` wrote")->required();
  app->add_option("--cluster", options->cluster,
                  "with the device's peak rates: the name of one in configs/clusters/, or a YAML file")
      ->required();
  app->add_option("--output", options->output, "the calibrated YAML file")->required();
  return {app, [options] {
            run_calibrate(*options);
            return 0;
          }};
}

}  // namespace dualparal
