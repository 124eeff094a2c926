// SPDX-License-Identifier: Apache-2.0
#include "harness/cli/completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <map>
#include <set>
#include <vector>

#include "base/errors.h"
#include "harness/options/strategies.h"

namespace dualparal {
namespace {

using Words = std::vector<std::string>;

struct Flag {
  std::string name;  // with its dashes
  bool is_switch = false;
};

// Every command by its name, with its flags.
std::map<std::string, std::vector<Flag>> flags_by_command(const CLI::App& program) {
  std::map<std::string, std::vector<Flag>> commands;
  for (const CLI::App* command : program.get_subcommands([](const CLI::App*) { return true; }))
    for (const CLI::Option* option : command->get_options())
      for (const std::string& name : option->get_lnames())
        commands[command->get_name()].push_back({"--" + name, option->get_items_expected_max() == 0});
  return commands;
}

// Flags that take one of several words, the same in all commands that have them.
std::map<std::string, Words> words_by_flag() {
  std::map<std::string, std::set<std::string>> words;
  for (const StrategyEntry& entry : strategies()) {
    words["--strategy"].insert(entry.name);
    for (const OptionSpec& option : entry.options)
      words["--" + option.name].insert(option.choices.begin(), option.choices.end());
  }
  std::map<std::string, Words> found;
  for (const auto& [flag, some] : words)
    if (!some.empty()) found[flag] = {some.begin(), some.end()};
  return found;
}

struct Shell {
  std::string begin, value_case, commands, flag_case, end;  // value_case: flag, words; flag_case: command, words
};

const Shell kBash{.begin = R"(# bash completion for dualparal: . <(dualparal completion bash)
_dualparal() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} words=
  case "${{COMP_WORDS[COMP_CWORD - 1]}}" in
)",
                  .value_case = "    {}) words='{}' ;;\n",
                  .commands = R"(  esac
  if [ -z "$words" ] && [ "$COMP_CWORD" -eq 1 ]; then words='{}'; fi
  if [ -z "$words" ] && [[ $word == -* ]]; then
    case "${{COMP_WORDS[1]}}" in
)",
                  .flag_case = "      {}) words='{}' ;;\n",
                  .end = R"(    esac
  fi
  if [ -n "$words" ]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
    compopt -o filenames 2>/dev/null
  fi
}}
complete -F _dualparal dualparal
)"};

const Shell kZsh{.begin = R"(#compdef dualparal
# zsh completion for dualparal: . <(dualparal completion zsh), or this file as _dualparal in a folder of $fpath
_dualparal() {{
  local -a found
  case "${{words[CURRENT - 1]}}" in
)",
                 .value_case = "    {}) found=({}) ;;\n",
                 .commands = R"(  esac
  if (( $#found == 0 && CURRENT == 2 )); then found=({}); fi
  if [[ $#found -eq 0 && "${{words[CURRENT]}}" == -* ]]; then
    case "${{words[2]}}" in
)",
                 .flag_case = "      {}) found=({}) ;;\n",
                 .end = R"(    esac
  fi
  if (( $#found )); then compadd -- $found; else _files; fi
}}
if [ "$funcstack[1]" = _dualparal ]; then _dualparal "$@"; else compdef _dualparal dualparal; fi
)"};

std::string script(const CLI::App& program, const Shell& shell) {
  const auto commands = flags_by_command(program);
  Words names;
  for (const auto& [name, flags] : commands) names.push_back(name);
  std::string text = fmt::format(fmt::runtime(shell.begin));
  for (const auto& [flag, words] : words_by_flag())
    text += fmt::format(fmt::runtime(shell.value_case), flag, fmt::join(words, " "));
  text += fmt::format(fmt::runtime(shell.commands), fmt::join(names, " "));
  for (const auto& [name, flags] : commands) {
    Words words;
    for (const Flag& flag : flags) words.push_back(flag.name);
    text += fmt::format(fmt::runtime(shell.flag_case), name, fmt::join(words, " "));
  }
  return text + fmt::format(fmt::runtime(shell.end));
}

std::string list(const CLI::App& program) {
  const auto words = words_by_flag();
  std::string text;
  for (const auto& [command, flags] : flags_by_command(program))
    for (const Flag& flag : flags) {
      const auto own = words.find(flag.name);
      text += fmt::format("{}\t{}\t{}\t{}\n", command, flag.name, flag.is_switch ? "switch" : "value",
                          own == words.end() ? "" : fmt::format("{}", fmt::join(own->second, "|")));
    }
  return text;
}

}  // namespace

std::string completion_text(const CLI::App& program, const std::string& shell) {
  if (shell == "bash") return script(program, kBash);
  if (shell == "zsh") return script(program, kZsh);
  check_usage(shell == "list", "completion: expected bash, zsh or list, got '{}'", shell);
  return list(program);
}

}  // namespace dualparal
