// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "harness/cli/command.h"
#include "harness/report/compare_results.h"

namespace dualparal {

Command compare_results_command(CLI::App& program) {
  const auto options = std::make_shared<CompareResultsOptions>();
  CLI::App* app = program.add_subcommand("compare-results", "two results of one experiment: what is wrong or slower");
  app->add_option("before", options->before, "results.jsonl, or a folder that holds one")->required();
  app->add_option("after", options->after, "the same, of another program or machine")->required();
  app->add_flag("--ratios", options->ratios, "of two machines: compare latencies divided by those of --base");
  app->add_option("--base", options->base, "strategy that --ratios divides by; where there is none, the first row")
      ->capture_default_str();
  app->add_option("--relative", options->relative, "a latency or memory that differs by less is the same")
      ->capture_default_str();
  app->add_option("--absolute", options->absolute_s, "seconds; a latency that differs by less is the same")
      ->capture_default_str();
  app->add_option("--band", options->band, "with --ratios: a ratio that differs by less is the same")
      ->capture_default_str();
  return {app, [options] {
            const int64_t bad = run_compare_results(*options);
            return bad > 0 ? report_error(fmt::format("{} figures are wrong or got worse", bad), 1) : 0;
          }};
}

}  // namespace dualparal
