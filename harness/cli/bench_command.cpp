// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

#include <CLI/CLI.hpp>
#include <memory>

#include <fmt/format.h>
#include "harness/options/generate_options.h"
#include "harness/sweep/bench.h"

namespace dualparal {

Command bench_command(CLI::App& program) {
  const auto options = std::make_shared<BenchOptions>();
  CLI::App* app = program.add_subcommand("bench", "run an experiment file, resuming what is missing");
  app->add_option("experiment", options->experiment, "YAML file, or the name of one in configs/experiments/")
      ->required();
  app->add_option("--output", options->output,
                  "folder for the results [results/<name>, of a shard results/<name>.I-of-N]");
  app->add_option("--jobs", options->jobs, "points of an experiment of traces at the same time [processors]")
      ->check(positive_number(1024));
  app->add_flag("--retry-failed", options->retry_failed, "run failed points again");
  app->add_flag("--restart", options->restart, "set results that are there aside and begin anew");
  app->add_flag("--dry-run", options->dry_run, "check and list the points, run none");
  app->add_option("--only", options->only,
                  "FLAG=VALUE (strategy=dualparal, frames=129, cluster=8x-h100): these points alone; several narrow it "
                  "down, several of one flag widen it")
      ->allow_extra_args(false);
  app->add_option("--shard", options->shard,
                  "I/N: the I-th of N shards of the points alone, for one experiment on several machines");
  app->add_flag("--quiet", options->quiet, "no progress");
  return {app, [options] {
            const int64_t failed = run_bench(*options);
            return failed > 0 ? report_error(fmt::format("{} point(s) failed; the report says why", failed), 1) : 0;
          }};
}

}  // namespace dualparal
