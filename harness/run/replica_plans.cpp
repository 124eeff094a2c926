// SPDX-License-Identifier: Apache-2.0
#include "harness/run/replica_plans.h"

#include <algorithm>

#include "base/device.h"
#include "base/errors.h"
#include "harness/options/endless_options.h"
#include "harness/options/resolve_options.h"
#include "harness/options/strategies.h"

namespace dualparal {
namespace {

// The sizes of a replica; of an endless run, those of its planned_latent_frames().
Workload workload_of(const GenerateOptions& options, const Request& request, const WanModel& model,
                     const Replica& replica) {
  const auto bytes = static_cast<int64_t>(c10::elementSize(parse_dtype(options.model.dtype)));
  Request planned = request;
  planned.latent_frames = planned_latent_frames(options, model);
  Workload work = workload(planned, model.transformer_config(), bytes, replica.ranks.size());
  work.videos = static_cast<int64_t>(replica.videos.size());
  work.from_image = shows_image(options, model);
  work.device = named_device(options.model.device).type();
  work.text_tokens = model.text_tokens();
  if (model.needs_image_embeds()) work.image_tokens = model.image_tokens();
  return work;
}

}  // namespace

std::vector<ReplicaPlan> plan_replicas(const GenerateOptions& options, const Request& request, const WanModel& model,
                                       const Strategy& strategy, int64_t world_size) {
  std::vector<ReplicaPlan> plans;
  for (const Replica& replica : replicas_of(options, world_size)) {
    const auto videos = static_cast<int64_t>(replica.videos.size());
    if (!plans.empty() && plans.back().work.videos == videos) {
      ++plans.back().replicas;
      continue;
    }
    Workload work = workload_of(options, request, model, replica);
    StrategyPlan plan = plan_videos(options.run, strategy, work);
    plans.push_back({std::move(work), std::move(plan)});
  }
  return plans;
}

const ReplicaPlan& plan_of(const std::vector<ReplicaPlan>& plans, const Replica& replica) {
  const auto found = std::ranges::find(plans, static_cast<int64_t>(replica.videos.size()),
                                       [](const ReplicaPlan& one) { return one.work.videos; });
  check(found != plans.end(), "no plan is of a replica with {} videos", replica.videos.size());
  return *found;
}

}  // namespace dualparal
