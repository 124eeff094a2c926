// SPDX-License-Identifier: Apache-2.0
#include "harness/options/replicas.h"

#include <CLI/CLI.hpp>

#include "base/errors.h"
#include "harness/options/prompt_list.h"
#include "harness/record/replica_share.h"

namespace dualparal {

void add_replicas_flag(CLI::App& app, const std::string& group, RunOptions& options) {
  app.add_option("--replicas", options.replicas,
                 "with --scenario: equal groups of ranks, each of which runs the strategy by itself with every so many "
                 "prompts of the list: the k-th of R groups has prompts k, k + R, ...")
      ->group(group)
      ->capture_default_str()
      ->check(positive_number(kMostRanks));
}

void check_replicas(const GenerateOptions& options) {
  check_usage(options.run.replicas == 1 || in_scenario(options),
              "--replicas {}: they share a list of prompts, each a video: needs --prompt-list and --scenario",
              options.run.replicas);
}

std::vector<Replica> replicas_of(const GenerateOptions& options, int64_t world_size) {
  const int64_t count = options.run.replicas, videos = videos_in_run(options);
  check_usage(world_size % count == 0,
              "--replicas {}: {} ranks cannot be cut into {} equal groups; use a multiple ({})", count, world_size,
              count, options.run.mode == Mode::kRun ? "--nproc" : "--world-size");
  check_usage(count <= videos, "--replicas {}: {} prompts leave a replica without a video", count, videos);
  const int64_t ranks = world_size / count;
  std::vector<Replica> replicas;
  for (int64_t i = 0; i < count; ++i)
    replicas.push_back({{i * ranks, (i + 1) * ranks}, videos_of_replica(videos, count, i)});
  return replicas;
}

}  // namespace dualparal
