// SPDX-License-Identifier: Apache-2.0
#include "harness/options/arrangement.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <sstream>

#include "base/errors.h"
#include "base/files.h"
#include "comm/rendezvous.h"
#include "harness/options/strategies.h"

namespace dualparal {
namespace {

bool has_option(const std::string& strategy, const std::string& name) {
  const auto& options = find_strategy(strategy).options;
  return std::ranges::find(options, name, &OptionSpec::name) != options.end();
}

}  // namespace

void add_arrangement_flags(CLI::App& app, const std::string& group, RunOptions& options) {
  app.add_option("--stages", options.stages,
                 "of a pipeline: with --sequence-degree, --guidance-degree and --replicas the number of ranks is the "
                 "product, and is started if neither --nproc, --world-size nor a launcher says it [ranks / the rest]")
      ->group(group)
      ->check(positive_number(kMostRanks));
  app.add_option("--guidance-degree", options.guidance_degree,
                 "2: --guidance-parallel on, ranks in two groups, one for each half of guidance; 1: off")
      ->group(group)
      ->check(CLI::Range(int64_t{1}, int64_t{2}));
}

void resolve_arrangement(RunOptions& o) {
  if (const auto given = o.strategy_options.find("partition"); given != o.strategy_options.end())
    given->second = partition_of(given->second);
  if (!o.guidance_degree) return;
  const std::string name = "guidance-parallel", value = *o.guidance_degree == 2 ? "on" : "off";
  const auto given = o.strategy_options.find(name);
  const std::string said = given == o.strategy_options.end() ? value : given->second;
  check_usage(said == value, "--guidance-degree {}: --guidance-parallel {} says otherwise", *o.guidance_degree, said);
  const bool has = has_option(o.strategy, name);
  check_usage(has || *o.guidance_degree == 1, "--guidance-degree 2: strategy '{}' has no groups for halves of guidance",
              o.strategy);
  if (has) o.strategy_options[name] = value;
}

void resolve_ranks(RunOptions& o, bool guided) {
  if (!o.stages) return;
  check_usage(has_option(o.strategy, "partition"), "--stages {}: strategy '{}' has no stages", *o.stages, o.strategy);
  const int64_t sequence = ranks_of_stage(o);
  const auto halves = o.strategy_options.find("guidance-parallel");
  const int64_t guidance = guided && halves != o.strategy_options.end() && halves->second == "on" ? 2 : 1;
  const int64_t product = *o.stages * sequence * guidance * o.replicas;
  const bool runs = o.mode == Mode::kRun;
  const auto environment = rank_environment();
  int64_t& flag = runs ? o.nproc : o.world_size;
  if (flag == 1 && !(runs && environment)) flag = product;
  const int64_t ranks = runs && environment ? environment->world_size : flag;
  check_usage(
      ranks == product,
      "--stages {}: {} stage(s) of {} rank(s), {} group(s) of guidance and {} replica(s) are {} ranks, not {}{}",
      *o.stages, *o.stages, sequence, guidance, o.replicas, product, ranks,
      runs && environment ? " (of the launcher)"
      : runs              ? " (--nproc)"
                          : " (--world-size)");
}

int64_t ranks_of_stage(const RunOptions& options) {
  const auto found = options.strategy_options.find("sequence-degree");
  return found == options.strategy_options.end() ? 1 : std::stoll(found->second);
}

std::string partition_of(const std::string& given) {
  if (given == "auto") return "balanced";
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(given, ignored)) return given;
  std::istringstream lines(read_file(given));
  std::string places;
  for (std::string line; std::getline(lines, line);) {
    line.resize(std::min(line.find('#'), line.size()));
    std::ranges::replace(line, ',', ' ');
    std::istringstream words(line);
    for (std::string word; words >> word;) places += (places.empty() ? "" : ",") + word;
  }
  check_usage(!places.empty(), "--partition {}: the file holds no place where a stage begins", given);
  return places;
}

}  // namespace dualparal
