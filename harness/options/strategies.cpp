// SPDX-License-Identifier: Apache-2.0
#include "harness/options/strategies.h"

#include <map>

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

Repeats what_repeats(const std::string& strategy) {
  static const std::map<std::string, Repeats> known = {
      {"single", Repeats::kSteps},         {"ring", Repeats::kSteps},
      {"ulysses", Repeats::kSteps},        {"usp", Repeats::kSteps},
      {"video_infinity", Repeats::kSteps}, {"context_windows", Repeats::kSteps},
      {"naive_pipeline", Repeats::kSteps}, {"pipefusion", Repeats::kSteps},
      {"fifo", Repeats::kIterations},      {"dualparal", Repeats::kQueue},
  };
  const auto found = known.find(strategy);
  return found == known.end() ? Repeats::kNothing : found->second;
}

}  // namespace dualparal
