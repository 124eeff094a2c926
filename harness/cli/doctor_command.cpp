// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "harness/cli/doctor.h"

namespace dualparal {

Command doctor_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("doctor", "what this machine can do, what is missing and how to get it");
  return {app, [] {
            const auto findings = examine_machine();
            fmt::print("{}", findings_text(findings));
            const auto broken = std::ranges::find(findings, Finding::State::kBroken, &Finding::state);
            if (broken == findings.end()) return 0;
            return report_error(fmt::format("{}: {}", broken->what, broken->how), 1);
          }};
}

}  // namespace dualparal
