// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/generate_help.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>

#include "harness/options/strategies.h"

namespace dualparal {
namespace {

const std::set<std::string> kCommon{"help",         "help-all",       "model",       "device",  "dtype",  "strategy",
                                    "nproc",        "prompt",         "prompt-list", "prompts", "image",  "frames",
                                    "height",       "width",          "steps",       "seed",    "output", "result",
                                    "save-latents", "guidance-scale", "timeline"};
// Of strategies that attend to the whole video.
const std::set<std::string> kWholeSequence{"sparse-attention", "rope-riflex"};

// The strategy that the arguments name; null: none, or an unknown one.
const StrategyEntry* named_strategy(const std::vector<std::string>& arguments) {
  std::string name;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].starts_with("--strategy=")) name = arguments[i].substr(arguments[i].find('=') + 1);
    if (arguments[i] == "--strategy" && i + 1 < arguments.size()) name = arguments[i + 1];
  }
  const auto found = std::ranges::find(strategies(), name, &StrategyEntry::name);
  return found == strategies().end() ? nullptr : &*found;
}

// A flag as this strategy alone has it.
std::string own_help(const OptionSpec& spec) {
  const std::string choices = spec.choices.empty() ? "" : fmt::format("{}: ", fmt::join(spec.choices, "|"));
  return fmt::format("{}{} [{}]", choices, spec.help, spec.default_value);
}

void show_for(CLI::Option& option, const StrategyEntry* strategy) {
  const std::string name = option.get_lnames().empty() ? "" : option.get_lnames().front();
  if (kCommon.contains(name)) return;
  if (strategy && strategy->whole_sequence && kWholeSequence.contains(name)) return;
  if (strategy)
    for (const OptionSpec& spec : strategy->options)
      if (spec.name == name) {
        option.description(own_help(spec))->group("Strategy " + strategy->name);
        return;
      }
  option.group("");  // not in the help
}

}  // namespace

void arrange_generate_help(CLI::App& generate, const std::vector<std::string>& arguments) {
  generate.set_help_all_flag("--help-all", "every flag");
  // Errors do not name a flag that the help leaves out.
  const auto asked = [&](const char* flag) { return std::ranges::find(arguments, flag) != arguments.end(); };
  if (asked("--help-all") || !(asked("--help") || asked("-h"))) return;
  const StrategyEntry* strategy = named_strategy(arguments);
  for (CLI::Option* option : generate.get_options()) show_for(*option, strategy);
  generate.footer(strategy ? "Every flag: --help-all"
                           : "With the flags of a strategy: --strategy NAME --help (names: dualparal strategies)\n"
                             "Every flag: --help-all");
}

}  // namespace dualparal
