// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "harness/simulator/simulate.h"

namespace dualparal {

Command simulate_command(CLI::App& program) {
  const auto options = std::make_shared<SimulateOptions>();
  CLI::App* app = program.add_subcommand("simulate", "replay the traces of a run on described clusters");
  app->add_option("traces", options->traces, "folder that `generate --traces` wrote")->required();
  app->add_option("--cluster", options->clusters, "names of those in configs/clusters/, or YAML files")->required();
  app->add_option("--compute", options->compute,
                  "model: from the traced work and the cluster's rates; measured: as the traces' clocks say, on the "
                  "device that they come from")
      ->capture_default_str();
  app->add_option("--result", options->result, "file to which the result line (JSON) is appended");
  app->add_option("--timeline", options->timeline, "Chrome trace of all ranks (JSON), for ui.perfetto.dev");
  app->add_flag(
      "--sweep", options->sweep,
      "besides, with each share and the links at the ends of their ranges: how much the result depends on them");
  app->add_flag("--share-devices", options->share_devices,
                "let ranks share a device, its time and its memory, where there are more ranks than devices");
  app->add_flag("--quiet", options->quiet, "no summary");
  return {app, [options] {
            run_simulate(*options);
            return 0;
          }};
}

}  // namespace dualparal
