// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "base/errors.h"
#include "harness/options/generate_options.h"
#include "harness/probe/probe.h"
#include "harness/simulator/calibrate.h"

namespace dualparal {
namespace {

constexpr int64_t kMostRanks = 1024, kMostThreads = 1024;

struct Flags {
  bool probe = false;
  CalibrateOptions calibrate;
  ProbeOptions of_probe;
};

void add_probe_flags(CLI::App& app, Flags& flags) {
  ProbeOptions& o = flags.of_probe;
  const auto option = [&app](const std::string& name, auto& target, const std::string& help) {
    return app.add_option(name, target, help)->group("With --probe")->capture_default_str();
  };
  app.add_flag("--probe", flags.probe,
               "instead of traces: measure what devices compute and links carry, and describe them as a cluster")
      ->group("With --probe");
  option("--device", o.device, "cpu, cuda or cuda:K");
  option("--dtype", o.dtype, "fp32, bf16 or fp16: that attention and convolutions are measured in");
  option("--nproc", o.nproc, "ranks, a device each")->check(positive_number(kMostRanks));
  option("--threads", o.threads, "CPU threads per rank")->check(positive_number(kMostThreads));
  option("--backend", o.backend, "gloo or nccl: what carries messages");
  option("--seconds", o.seconds, "for each rate of a device")->check(CLI::Range(0.0, 600.0));
}

void run(Flags flags) {
  const CalibrateOptions& o = flags.calibrate;
  if (flags.probe) {
    check_usage(o.traces.empty() && o.cluster.empty(), "--probe: traces and --cluster have no use beside it");
    flags.of_probe.output = o.output;
    return run_probe(flags.of_probe);
  }
  check_usage(!o.traces.empty(), "traces: folders are missing that `generate --traces` wrote (or --probe)");
  check_usage(!o.cluster.empty(), "--cluster is required");
  check_usage(!o.output.empty(), "--output is required");
  run_calibrate(o);
}

}  // namespace

Command calibrate_command(CLI::App& program) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* app = program.add_subcommand(
      "calibrate", "fit a cluster's efficiency to measured traces, or measure this machine (--probe)");
  CalibrateOptions& o = flags->calibrate;
  app->add_option("traces", o.traces, "folders that `generate --traces` wrote");
  app->add_option("--cluster", o.cluster,
                  "with the device's peak rates: the name of one in configs/clusters/, or a YAML file");
  app->add_option("--output", o.output, "the calibrated YAML file");
  add_probe_flags(*app, *flags);
  return {app, [flags] {
            run(*flags);
            return 0;
          }};
}

}  // namespace dualparal
