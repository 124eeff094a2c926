// SPDX-License-Identifier: Apache-2.0
// dualparal: the command line. Exit codes: 0 done, 1 failed, 2 wrong usage.
#include <CLI/CLI.hpp>
#include <iostream>

#include "base/errors.h"
#include "base/memory.h"
#include "harness/cli/inspect.h"
#include "harness/options/strategies.h"
#include "harness/report/report.h"
#include "harness/report/vbench.h"
#include "harness/run/comparing.h"
#include "harness/run/generate.h"
#include "harness/simulator/calibrate.h"
#include "harness/simulator/simulate.h"
#include "harness/sweep/bench.h"

namespace dualparal {
namespace {

void print_strategies() {
  for (const auto& entry : strategies()) {
    fmt::print("{:<16} {}\n", entry.name, entry.description);
    for (const auto& option : entry.options)
      fmt::print("  --{} {}  {} [{}]\n", option.name,
                 option.choices.empty() ? "N" : fmt::format("{}", fmt::join(option.choices, "|")), option.help,
                 option.default_value);
  }
}

int report_error(const std::string& message, int code) {
  std::fputs(fmt::format("error: {}\n", message).c_str(), stderr);  // the terminal may be gone
  return code;
}

int run(int argc, char** argv) {
  CLI::App app{"Benchmark and reproduction harness for DualParal: long videos from Wan 2.1 on many GPUs."};
  app.require_subcommand(1);
  app.set_version_flag("--version", DUALPARAL_VERSION);

  GenerateOptions generate_options;
  CLI::App* generate = app.add_subcommand("generate", "generate one video");
  add_generate_options(*generate, generate_options);

  BenchOptions bench_options;
  CLI::App* bench = app.add_subcommand("bench", "run an experiment file, resuming what is missing");
  bench->add_option("experiment", bench_options.experiment, "YAML file, see configs/experiments/")->required();
  bench->add_option("--output", bench_options.output, "folder for the results [results/<name>]");
  bench->add_option("--jobs", bench_options.jobs, "points of an experiment of traces at the same time [processors]")
      ->check(positive_number());
  bench->add_flag("--retry-failed", bench_options.retry_failed, "run failed points again");
  bench->add_flag("--quiet", bench_options.quiet, "no progress");

  ReportOptions report_options;
  std::string report_output, vbench_folder;
  CLI::App* report = app.add_subcommand("report", "tables from result lines");
  report->add_option("results", report_options.results, "results.jsonl files, or folders that hold one")->required();
  report->add_option("--output", report_output, "folder for report.md and report.tex [print Markdown]");
  report->add_option("--title", report_options.title, "of the report")->capture_default_str();
  report->add_option("--baseline", report_options.baseline,
                     "a strategy: adds a table of latency and memory of all divided by its own");
  report->add_option("--vbench-export", vbench_folder,
                     "instead of tables: videos and prompts for `vbench`, in a folder");

  CompareOptions compare_options;
  CLI::App* compare = app.add_subcommand("compare", "PSNR, SSIM and latent error of two videos, from their latents");
  add_compare_options(*compare, compare_options);

  SimulateOptions simulate_options;
  CLI::App* simulate = app.add_subcommand("simulate", "replay the traces of a run on described clusters");
  simulate->add_option("traces", simulate_options.traces, "folder that `generate --traces` wrote")->required();
  simulate->add_option("--cluster", simulate_options.clusters, "YAML files, see configs/clusters/")->required();
  simulate
      ->add_option("--compute", simulate_options.compute,
                   "model: from the traced work and the cluster's rates; measured: as the traces' clocks say, on the "
                   "device that they come from")
      ->capture_default_str();
  simulate->add_option("--result", simulate_options.result, "file to which the result line (JSON) is appended");
  simulate->add_option("--timeline", simulate_options.timeline,
                       "Chrome trace of all ranks (JSON), for ui.perfetto.dev");
  simulate->add_flag("--quiet", simulate_options.quiet, "no summary");

  CalibrateOptions calibrate_options;
  CLI::App* calibrate = app.add_subcommand("calibrate", "fit a cluster's efficiency to measured traces");
  calibrate->add_option("traces", calibrate_options.traces, "folders that `generate --traces` wrote")->required();
  calibrate->add_option("--cluster", calibrate_options.cluster, "YAML file with the device's peak rates")->required();
  calibrate->add_option("--output", calibrate_options.output, "the calibrated YAML file")->required();

  std::string checkpoint, dtype = "bf16";
  int64_t nproc = 1;
  CLI::App* inspect = app.add_subcommand("inspect", "what a checkpoint holds and what each rank would hold");
  inspect->add_option("checkpoint", checkpoint, "folder in Hugging Face diffusers layout")->required();
  inspect->add_option("--nproc", nproc, "ranks to split the layers over")->capture_default_str();
  inspect->add_option("--dtype", dtype, "fp32, bf16 or fp16")->capture_default_str();

  CLI::App* list = app.add_subcommand("strategies", "list the strategies and their options");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return report_error(fmt::format("{} (see --help)", error.what()), 2);
  }
  if (generate->parsed()) run_generate(generate_options, {argv + 1, argv + argc});
  if (bench->parsed()) {
    const int64_t failed = run_bench(bench_options);
    if (failed > 0) return report_error(fmt::format("{} point(s) failed; the report says why", failed), 1);
  }
  if (simulate->parsed()) run_simulate(simulate_options);
  if (calibrate->parsed()) run_calibrate(calibrate_options);
  if (report->parsed()) {
    if (!vbench_folder.empty()) {
      const auto done = export_vbench(report_options.results, vbench_folder);
      fmt::print("{} videos in {}, {} result lines without one\n", done.videos, vbench_folder, done.without_video);
    } else if (report_output.empty()) {
      fmt::print("{}", markdown_report(report_options, "."));
    } else {
      write_report(report_options, report_output);
    }
  }
  if (compare->parsed()) run_compare(compare_options);
  if (inspect->parsed()) fmt::print("{}", inspect_checkpoint(checkpoint, nproc, dtype));
  if (list->parsed()) print_strategies();
  return 0;
}

}  // namespace
}  // namespace dualparal

int main(int argc, char** argv) {
  using namespace dualparal;
  count_cpu_memory();
  try {
    return run(argc, argv);
  } catch (const UsageError& error) {
    return report_error(error.what(), 2);
  } catch (const c10::OutOfMemoryError& error) {
    return report_error(fmt::format("out of memory: {}", first_line(error.what_without_backtrace())), 1);
  } catch (const c10::Error& error) {
    return report_error(first_line(error.what_without_backtrace()), 1);
  } catch (const std::exception& error) {
    return report_error(error.what(), 1);
  }
}
