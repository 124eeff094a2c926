// SPDX-License-Identifier: Apache-2.0
#include "harness/options/trace_options.h"

#include <CLI/CLI.hpp>

#include "base/errors.h"
#include "harness/options/arrangement.h"

namespace dualparal {

void add_trace_flags(CLI::App& app, const std::string& group, RunOptions& options) {
  app.add_flag("--short-traces", options.short_traces,
               "with --mode trace: steps and blocks that are alike are traced once; the same figures and simulations, "
               "sooner")
      ->group(group);
  app.add_flag("--stages-as-one", options.stages_as_one,
               "with --mode trace: of a stage's ranks (--sequence-degree) the first is traced for all; for hundreds of "
               "ranks, simulated within a percent (docs/simulation.md)")
      ->group(group);
}

void check_trace_options(const RunOptions& o) {
  check_usage(!o.short_traces || o.mode == Mode::kTrace, "--short-traces: for --mode trace, not {}", mode_name(o.mode));
  if (!o.stages_as_one) return;
  check_usage(o.mode == Mode::kTrace, "--stages-as-one: for --mode trace, not {}", mode_name(o.mode));
  check_usage(ranks_of_stage(o) > 1,
              "--stages-as-one: stages have one rank each; it is for --strategy dualparal with --sequence-degree 2 or "
              "more");
  check_usage(o.scenario.empty(), "--stages-as-one: traces of --scenario {} are of every rank", o.scenario);
}

int64_t ranks_as_one(const RunOptions& options) { return options.stages_as_one ? ranks_of_stage(options) : 1; }

}  // namespace dualparal
