// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

#include <CLI/CLI.hpp>
#include <memory>

#include <fmt/format.h>
#include "base/data_dir.h"
#include "base/errors.h"
#include "base/files.h"
#include "harness/report/csv.h"
#include "harness/report/report.h"
#include "harness/report/report_groups.h"
#include "harness/report/vbench.h"
#include "harness/sweep/experiment.h"

namespace dualparal {
namespace {

// What the call leaves open, the experiment says.
void take_from(const std::string& name, const CLI::App& app, ReportOptions& options) {
  const Experiment experiment = read_experiment(named_yaml("experiment", "configs/experiments", name));
  if (app.count("--title") == 0) options.title = experiment.title;
  if (app.count("--baseline") == 0) options.baselines.strategy = experiment.baselines.strategy;
  if (app.count("--baseline-variant") == 0) options.baselines.variants_of = experiment.baselines.variants_of;
  if (app.count("--baseline-frames") == 0) options.baselines.frames = experiment.baselines.frames;
}

}  // namespace

Command report_command(CLI::App& program) {
  struct Flags {
    ReportOptions options;
    std::string experiment, output, vbench_folder, csv_file;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* app = program.add_subcommand("report", "tables from result lines");
  app->add_option("results", flags->options.results, "results.jsonl files, or folders that hold one")->required();
  app->add_option("--output", flags->output, "folder for report.md and report.tex [print Markdown]");
  app->add_option("--experiment", flags->experiment,
                  "YAML file, or the name of one in configs/experiments/: its title and baselines");
  app->add_option("--title", flags->options.title, "of the report")->capture_default_str();
  app->add_option("--baseline", flags->options.baselines.strategy,
                  "a strategy: adds a table of latency and memory of all divided by its own, and where prompts and "
                  "seeds are pairs enough, one of quality against it");
  app->add_option("--baseline-variant", flags->options.baselines.variants_of,
                  "a strategy: adds a table of the quality of its variants against that of its default options, by "
                  "prompt and seed (may be repeated)")
      ->allow_extra_args(false);
  app->add_option("--baseline-frames", flags->options.baselines.frames,
                  "a length: adds a table of the quality of videos of other lengths against it, by prompt and seed");
  app->add_option("--min-pairs", flags->options.fewest_pairs, "pairs below which these tables say: cannot tell")
      ->capture_default_str();
  app->add_option("--vbench-export", flags->vbench_folder,
                  "instead of tables: videos and prompts for `vbench`, in a folder");
  app->add_option("--csv", flags->csv_file,
                  "instead of tables: a row a line with all its fields, to this file (/dev/stdout: standard output)");
  return {app, [app, flags] {
            check_usage(flags->csv_file.empty() || (flags->vbench_folder.empty() && flags->output.empty()),
                        "--csv writes one file and nothing else: leave out --output and --vbench-export");
            if (!flags->experiment.empty()) take_from(flags->experiment, *app, flags->options);
            if (!flags->csv_file.empty()) {
              write_file(flags->csv_file, csv_table(read_report_lines(flags->options.results)));
            } else if (!flags->vbench_folder.empty()) {
              const auto done = export_vbench(flags->options.results, flags->vbench_folder);
              fmt::print("{} videos in {}, {} result lines without one\n", done.videos, flags->vbench_folder,
                         done.without_video);
            } else if (flags->output.empty()) {
              fmt::print("{}", markdown_report(flags->options, "."));
            } else {
              write_report(flags->options, flags->output);
            }
            return 0;
          }};
}

}  // namespace dualparal
