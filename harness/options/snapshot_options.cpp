// SPDX-License-Identifier: Apache-2.0
#include "harness/options/snapshot_options.h"

#include <CLI/CLI.hpp>
#include <filesystem>

#include "base/errors.h"
#include "harness/options/generate_options.h"

namespace dualparal {
namespace {

constexpr double kLongestInterval = 1e6;  // seconds
constexpr int64_t kMostRestarts = 10'000;

bool same_folder(const std::filesystem::path& a, const std::filesystem::path& b) {
  return (a / "").lexically_normal() == (b / "").lexically_normal();
}

}  // namespace

void add_snapshot_flags(CLI::App& app, const std::string& group, SnapshotOptions& o) {
  app.add_option(
         "--snapshot", o.folder,
         "folder in which the state of the run is kept, so that it can go on after a fault; SIGTERM and SIGUSR1 "
         "then keep it at the next iteration and end the run with exit code 75")
      ->group(group);
  app.add_option("--snapshot-every", o.every_s, "seconds between two snapshots; 0: one after every iteration")
      ->group(group)
      ->capture_default_str()
      ->check(CLI::Range(0.0, kLongestInterval));
  app.add_option(
         "--resume", o.resume_from,
         "go on from the newest snapshot in this folder, and keep more there; with --snapshot of the same folder, "
         "a run without one begins at its start")
      ->group(group);
  app.add_option("--restarts", o.restarts, "times that a run with --snapshot is resumed after a fault")
      ->group(group)
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, kMostRestarts));
}

void resolve_snapshots(GenerateOptions& options) {
  SnapshotOptions& o = options.snapshots;
  o.resume = !o.resume_from.empty();
  o.must_resume = o.resume && o.folder.empty();
  if (o.must_resume) o.folder = o.resume_from;
  check_usage(!o.resume || same_folder(o.folder, o.resume_from),
              "--resume {}: snapshots go on in the folder that they are resumed from, not in --snapshot {}",
              o.resume_from, o.folder);
  check_usage(o.restarts == 0 || o.active(), "--restarts {}: needs --snapshot, to have something to go on from",
              o.restarts);
  if (!o.active()) return;
  const char* flag = o.must_resume ? "--resume" : "--snapshot";
  check_usage(options.run.mode == Mode::kRun, "{}: --mode {} has no latents to keep", flag,
              mode_name(options.run.mode));
  check_usage(options.run.repeats == 1 && options.run.until_interval == 0,
              "{}: a run that is repeated for its latency begins at its start", flag);
  check_usage(options.video.prompt_list.empty(), "{}: not with --prompt-list; give each prompt a run of its own", flag);
}

}  // namespace dualparal
