// SPDX-License-Identifier: Apache-2.0
// dualparal: the command line. Exit codes: 0 done, 1 failed, 2 wrong usage, 75 stopped with a snapshot.
#include <CLI/CLI.hpp>

#include "base/errors.h"
#include "base/measure/memory.h"
#include "comm/rendezvous.h"
#include "harness/cli/command.h"
#include "harness/cli/first_steps.h"
#include "harness/cli/standard_streams.h"
#include "harness/cli/usage_error.h"
#include "harness/record/provenance.h"
#include "harness/snapshots/stop_signals.h"
#include "strategy/snapshot/snapshots.h"

namespace dualparal {
namespace {

int run(int argc, char** argv) {
  CLI::App app{"Benchmark and reproduction harness for DualParal: long videos from Wan 2.1 on many GPUs."};
  app.require_subcommand(1);
  app.set_version_flag("--version", version_text());
  const std::vector<Command> commands{
      generate_command(app, {argv + 1, argv + argc}),
      bench_command(app),
      report_command(app),
      compare_command(app),
      compare_results_command(app),
      simulate_command(app),
      calibrate_command(app),
      plan_command(app),
      inspect_command(app),
      strategies_command(app),
      doctor_command(app),
      completion_command(app),
  };
  if (argc == 1) {
    fmt::print("{}", first_steps(app));
    return 0;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return report_error(explain_usage(app, {argv + 1, argv + argc}, error.what()), 2);
  }
  for (const Command& command : commands)
    if (command.app->parsed()) return command.run();
  return 0;
}

int run_or_report(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const RunStopped& stopped) {  // no error: it is to go on later
    if (!std::getenv(kStoreVariable)) fmt::print(stderr, "# {}\n", stopped.what());
    return kStoppedExitCode;
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

}  // namespace
}  // namespace dualparal

int main(int argc, char** argv) {
  dualparal::prepare_standard_streams();
  dualparal::count_cpu_memory();
  return dualparal::finish_standard_output(dualparal::run_or_report(argc, argv));
}
