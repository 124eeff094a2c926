// SPDX-License-Identifier: Apache-2.0
#include "harness/options/strategies.h"

#include <utility>

#include "base/errors.h"
#include "base/nearest.h"
#include "baselines/fifo.h"
#include "baselines/naive_pipeline.h"
#include "baselines/pipefusion.h"
#include "baselines/sequence_parallel.h"
#include "baselines/single.h"
#include "baselines/windows/context_windows.h"
#include "baselines/windows/video_infinity.h"
#include "dualparal/dualparal.h"
#include "harness/options/generate_options.h"

namespace dualparal {

const std::vector<StrategyEntry>& strategies() {
  static const std::vector<StrategyEntry> table = {
      single_strategy(),    ring_strategy(),           ulysses_strategy(),
      usp_strategy(),       video_infinity_strategy(), context_windows_strategy(),
      fifo_strategy(),      naive_pipeline_strategy(), pipefusion_strategy(),
      dualparal_strategy(),
  };
  return table;
}

const StrategyEntry& find_strategy(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& entry : strategies()) {
    if (entry.name == name) return entry;
    names.push_back(entry.name);
  }
  throw UsageError(fmt::format("--strategy: '{}' is not known{}; there are: {}", name, did_you_mean(name, names),
                               fmt::join(names, ", ")));
}

bool queues_videos(const RunOptions& run) {
  return run.scenario == kOffline && find_strategy(run.strategy).queues_videos;
}

StrategyPlan plan_videos(const RunOptions& run, const Strategy& strategy, Workload work) {
  if (queues_videos(run)) return strategy.plan(work);
  const int64_t videos = std::exchange(work.videos, 1);
  const StrategyPlan each = strategy.plan(work);
  return videos > 1 ? each.repeated(videos) : each;
}

}  // namespace dualparal
