// SPDX-License-Identifier: Apache-2.0
// The sub-commands of the program, one file each.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace dualparal {

/// A sub-command whose flags are declared. run() does it and gives the exit code.
struct Command {
  CLI::App* app;
  std::function<int()> run;
};

/// arguments: those of the program, for the ranks that it starts.
Command generate_command(CLI::App& program, std::vector<std::string> arguments);
Command bench_command(CLI::App& program);
Command report_command(CLI::App& program);
Command compare_results_command(CLI::App& program);
Command compare_command(CLI::App& program);
Command simulate_command(CLI::App& program);
Command calibrate_command(CLI::App& program);
Command plan_command(CLI::App& program);
Command inspect_command(CLI::App& program);
Command strategies_command(CLI::App& program);
Command doctor_command(CLI::App& program);
/// Of all commands that `program` has when it runs.
Command completion_command(CLI::App& program);

/// "error: message" on standard error; returns `code`.
int report_error(const std::string& message, int code);

}  // namespace dualparal
