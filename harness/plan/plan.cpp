// SPDX-License-Identifier: Apache-2.0
#include "harness/plan/plan.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "base/data_dir.h"
#include "base/errors.h"
#include "base/progress.h"
#include "harness/options/resolve_options.h"
#include "harness/plan/plan_report.h"
#include "harness/plan/search.h"
#include "harness/record/results.h"

namespace dualparal {
namespace {

int64_t pixels_of(const std::string& size, const std::string& text) {
  const bool digits = !text.empty() && text.size() < 6 && text.find_first_not_of("0123456789") == std::string::npos;
  check_usage(digits, "--size: expected WIDTHxHEIGHT in pixels, such as 832x480, got '{}'", size);
  return std::stol(text);
}

void set_size(VideoOptions& video, const std::string& size) {
  if (size.empty()) return;
  const size_t cross = size.find('x');
  check_usage(cross != std::string::npos, "--size: expected WIDTHxHEIGHT in pixels, such as 832x480, got '{}'", size);
  video.width = pixels_of(size, size.substr(0, cross));
  video.height = pixels_of(size, size.substr(cross + 1));
}

Cluster planned_cluster(const PlanOptions& options) {
  Cluster cluster = read_cluster(named_yaml("cluster", "configs/clusters", options.cluster));
  if (options.memory_gib) {
    check_usage(std::isfinite(*options.memory_gib) && *options.memory_gib > 0 && *options.memory_gib < 1e6,
                "--memory-limit: expected GiB, more than 0, got {}", *options.memory_gib);
    cluster.device_memory_bytes = std::llround(*options.memory_gib * (1 << 30));
    cluster.device_reserved_bytes = 0;
  }
  return cluster;
}

}  // namespace

void run_plan(const PlanOptions& given) {
  PlanTask task{given.video, planned_cluster(given)};
  GenerateOptions& options = task.options;
  set_size(options.video, given.size);
  // Where the host starts operations ahead, devices are GPUs.
  const bool gpus = task.cluster.efficiency.operation_overlaps;
  if (options.model.device.empty()) options.model.device = gpus ? "cuda" : "cpu";
  if (options.model.dtype.empty()) options.model.dtype = gpus ? "bf16" : "fp32";
  check_usage(task.cluster.flops_per_s.contains(options.model.dtype), "--dtype {}: {} does not say how fast it is",
              options.model.dtype, task.cluster.file);
  const int64_t devices = given.devices.value_or(task.cluster.devices());
  check_usage(1 <= devices && devices <= task.cluster.devices(), "--devices {}: '{}' has {}", devices,
              task.cluster.name, task.cluster.devices());
  options.video.prompt = "any: shapes alone";
  GenerateOptions resolved = candidate_options(task, {.strategy = "single"});
  const WanModel model = resolve_generate_options(resolved);
  const auto all = candidates(devices, *resolved.sampling.guidance_scale > 1, given.exact);
  const int64_t jobs = given.jobs > 0 ? given.jobs : std::max<int64_t>(1, std::thread::hardware_concurrency());
  std::vector<Judged> judged;
  {
    Progress progress("plan", "candidate", options.run.quiet);
    judged = search(task, all, jobs, [&](int64_t done, int64_t of) { progress.update(done, of); });
  }
  if (!given.result.empty())
    for (const Judged& one : judged)
      if (one.verdict.kind == Verdict::Kind::kSimulated) append_result(given.result, one.verdict.line);
  fmt::print("{}",
             plan_report({resolved, task.cluster, devices, model.name(), given.rows, model.from_image()}, judged));
  check(std::ranges::any_of(judged, [](const Judged& one) { return one.verdict.kind == Verdict::Kind::kSimulated; }),
        "nothing of this can run on {}: see above", task.cluster.name);
}

}  // namespace dualparal
