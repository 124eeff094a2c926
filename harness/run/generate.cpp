// SPDX-License-Identifier: Apache-2.0
#include "harness/run/generate.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <cstdlib>
#include <new>
#include <system_error>
#include <thread>

#include "base/device.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "comm/nccl_communicator.h"
#include "comm/rank_group.h"
#include "comm/rendezvous.h"
#include "harness/media/video_file.h"
#include "harness/options/endless_options.h"
#include "harness/options/prompt_list.h"
#include "harness/options/resolve_options.h"
#include "harness/options/strategies.h"
#include "harness/run/emulate.h"
#include "harness/run/launcher.h"
#include "harness/run/notices.h"
#include "harness/run/rank_device.h"
#include "harness/run/rank_run.h"
#include "harness/run/replica_plans.h"
#include "harness/run/run_session.h"
#include "harness/snapshots/resume_check.h"
#include "harness/snapshots/resume_command.h"
#include "harness/snapshots/stop_signals.h"
#include "model/ops/kernels.h"

namespace dualparal {
namespace {

int64_t rank_threads(const GenerateOptions& options, const std::optional<RankEnvironment>& environment) {
  if (options.model.threads > 0 || !environment || std::getenv("OMP_NUM_THREADS")) return options.model.threads;
  return std::max<int64_t>(1, std::thread::hardware_concurrency() / environment->local_world_size);
}

void print_summary(const GenerateOptions& options, const ResultLine& line) {
  fmt::print("{} frames ({} latent) of {} x {}: ", *line.frames, *line.latent_frames, *line.width, *line.height);
  if (line.provenance.contains("resumed_after"))
    fmt::print("denoised from iteration {} on, ", line.provenance["resumed_after"].get<int64_t>());
  else if (line.provenance.contains("endless"))
    fmt::print("denoised in {:.2f} s until it was told to stop, ",
               line.provenance["endless"]["denoise_s"].get<double>());
  else if (line.latency_s)
    fmt::print("denoised in {:.2f} s, ", *line.latency_s);
  else
    fmt::print("{} ranks {}, {:.4g} TFLOP in all, ", *line.world_size, kind_name(line.kind),
               line.flops.value_or(0) / 1e12);
  if (line.videos_per_s)
    fmt::print("{} videos, {:.4g} videos/s, each in {:.2f} s (p50), {:.2f} s (p90), {:.2f} s (p99), ", *line.videos,
               *line.videos_per_s, *line.video_latency_s->p50, *line.video_latency_s->p90, *line.video_latency_s->p99);
  if (line.decode_s) fmt::print("decoded in {:.2f} s, ", *line.decode_s);
  fmt::print("peak memory {:.1f} MiB\n", static_cast<double>(*line.peak_memory_bytes) / (1 << 20));
  if (line.host_cache_bytes.value_or(0) > 0)
    fmt::print("caches in host memory {:.1f} MiB\n", static_cast<double>(*line.host_cache_bytes) / (1 << 20));
  for (const auto& path :
       {options.output.video, options.output.save_latents, options.output.save_noise, options.output.save_prompt_embeds,
        options.output.save_image_embeds, options.output.timeline, options.output.traces})
    if (!path.empty()) fmt::print("wrote {}\n", path);
}

// How many ranks there are, from flags or a launcher.
int64_t world_size_of(const GenerateOptions& options, const std::optional<RankEnvironment>& environment) {
  const bool runs = options.run.mode == Mode::kRun;
  check_usage(
      runs || (!environment && options.run.nproc == 1),
      "--mode {}: all ranks are in one process; give their number as --world-size, without --nproc or a launcher",
      mode_name(options.run.mode));
  if (!runs) return options.run.world_size;
  const int64_t world_size = environment ? environment->world_size : options.run.nproc;
  check_usage(!environment || options.run.nproc == 1 || options.run.nproc == world_size,
              "--nproc {}: this process is one of {} ranks that a launcher started; leave --nproc out",
              options.run.nproc, world_size);
  return world_size;
}

// Before any rank is started: a folder that cannot be made is refused once.
void make_traces_folder(const std::string& folder) {
  if (folder.empty()) return;
  std::error_code why;
  std::filesystem::create_directories(folder, why);
  check(!why, "--traces {}: cannot make the folder: {}", folder, why.message());
}

// Ranks of our own launcher leave much to that.
bool launched_by_us() { return std::getenv(kStoreVariable) != nullptr; }

// By one process of a run: the one that a user or a sweep started, or the first of a launcher's.
bool speaks(const GenerateOptions& options, const std::optional<RankEnvironment>& environment) {
  return !options.run.quiet && !launched_by_us() && (!environment || environment->rank == 0);
}

// The exception that is being handled; a fault of the device with what it was given when that showed, a lack of memory
// with what this rank was doing.
[[noreturn]] void rethrow_with_place(const std::exception& error, const Recorder& recorder) {
  const std::string text = first_line(error.what());
  if (dynamic_cast<const c10::AcceleratorError*>(&error)) fail("{}: {}", recorder.activity_of_device(), text);
  if (const size_t place = text.find("DefaultCPUAllocator: can't allocate"); place != std::string::npos)
    fail("{}: out of memory: {}", recorder.activity(), text.substr(place));
  if (dynamic_cast<const std::bad_alloc*>(&error)) fail("{}: out of memory: {}", recorder.activity(), error.what());
  const auto* system = dynamic_cast<const std::system_error*>(&error);
  if (system && system->code() == std::errc::resource_unavailable_try_again)
    fail("{}: out of memory, or of processes: no thread could be started: {}", recorder.activity(), error.what());
  throw;
}

// This process as one of the ranks: one run, or one for every prompt of a list. Rank 0 says what came of each.
void run_as_rank(const GenerateOptions& options, const WanModel& model,
                 const std::optional<RankEnvironment>& environment, const std::vector<std::string>& arguments) {
  const int64_t threads = rank_threads(options, environment);
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
  if (options.run.backend == "nccl") load_nccl_module();
  const c10::InferenceMode inference;
  const at::Device device = rank_device(options.model.device, environment);
  choose_kernels(options.model.kernels, device);
  Recorder recorder(device);
  const bool stops_in_order = options.snapshots.active() || is_endless(options);
  if (stops_in_order) catch_stop_signals(is_endless(options));
  RankGroup group(environment, {std::chrono::seconds(options.run.timeout_s), options.run.backend, device}, recorder);
  if (stops_in_order) catch_stop_signals(is_endless(options));  // the group has set others
  try {
    KeptModel kept;
    for (const GenerateOptions& one : runs_of(options)) {
      RunSession session(one, model, recorder, group, device, options.video.listed_prompts.empty() ? nullptr : &kept);
      const auto line = session.run();
      if (line && !one.run.quiet) print_summary(one, *line);
      if (session.stopped_after() && one.snapshots.active()) throw RunStopped(*session.stopped_after());
    }
  } catch (const RunStopped&) {
    throw;  // between two iterations: no message is under way
  } catch (const std::exception& error) {
    // Other ranks may be in the middle of a message: no destructor may wait for them.
    if (group.world_size() > 1)
      group.end(group.explain(error) + (launched_by_us() ? "" : how_to_go_on(arguments, options.snapshots)));
    rethrow_with_place(error, recorder);
  }
}

// What is said of a run that has ended before its end.
template <class Run>
void with_way_on(const GenerateOptions& options, const std::vector<std::string>& arguments, const Run& run) {
  if (!options.snapshots.active() || launched_by_us()) return run();
  const auto way_on = [&] { return how_to_go_on(arguments, options.snapshots); };
  try {
    run();
  } catch (const RunStopped& stopped) {
    throw RunStopped(stopped.done(), stopped.what() + way_on());
  } catch (const UsageError&) {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    throw Error(fmt::format("out of memory: {}{}", first_line(error.what_without_backtrace()), way_on()));
  } catch (const std::exception& error) {
    throw Error(first_line(error.what()) + way_on());
  }
}

// Starts the ranks, and after a fault starts them again, as often as was asked for.
void launch_run(const GenerateOptions& options, std::vector<std::string> arguments, int64_t world_size) {
  for (int64_t left = options.snapshots.restarts;; --left) {
    try {
      const StopBy kept = options.snapshots.active() ? StopBy::kTermination : StopBy::kNothing;
      return launch_ranks(arguments, world_size, is_endless(options) ? StopBy::kInterrupt : kept);
    } catch (const RunStopped&) {
      if (options.snapshots.active()) throw;
      fail("told to stop before the run had begun: there is no video");
    } catch (const Error& error) {
      // A rank that was killed could not remove what it had begun.
      for (const GenerateOptions& one : videos_of(options)) {
        for (const auto& path : {one.output.video, one.output.save_latents})
          if (!path.empty()) remove_abandoned_beside(path);
        if (!one.output.video.empty()) remove_empty_growing(one.output.video);
      }
      const bool final = dynamic_cast<const RunStopped*>(&error) || dynamic_cast<const UsageError*>(&error);
      if (final || left == 0 || launcher_interrupted()) throw;
      fmt::print(stderr, "# {}; the run goes on from its newest snapshot ({} more restarts)\n", error.what(), left - 1);
      arguments = resume_arguments(arguments, options.snapshots);
    }
  }
}

}  // namespace

StrategyPlan check_possible(const GenerateOptions& options, const WanModel& model, int64_t world_size) {
  check_usage(
      options.model.random_weights || options.run.mode == Mode::kTrace || model.has_weights(),
      "{}: configurations without weights; --mode {} needs a checkpoint's folder, or --random-weights (--mode trace "
      "and `dualparal inspect` need neither)",
      options.model.dir, mode_name(options.run.mode));
  // A LoRA that does not fit is refused once, too.
  for (int64_t expert = 0; !options.model.loras.empty() && expert < model.experts(); ++expert)
    model.load_transformer({at::kMeta, at::kFloat}, model.whole(), expert);
  check_image_options(options, model);
  const Request request = make_request(options, model);
  const auto strategy = find_strategy(options.run.strategy).make(options.run.strategy_options);
  const auto plans = plan_replicas(options, request, model, *strategy, world_size);
  if (options.snapshots.active()) strategy->check_snapshots(plans.front().work, std::nullopt);
  return plans.front().plan;
}

void run_generate(const GenerateOptions& given, const std::vector<std::string>& arguments) {
  if (given.run.backend == "nccl") set_nccl_environment();  // no thread has been started yet
  GenerateOptions options = given;
  const WanModel model = resolve_generate_options(options);
  const auto environment = rank_environment();
  const bool runs = options.run.mode == Mode::kRun;
  const int64_t world_size = world_size_of(options, environment);
  if (runs) options.run.nproc = world_size;
  const StrategyPlan plan = check_possible(options, model, world_size);
  const auto each = videos_of(options);
  for (const GenerateOptions& one : each) make_traces_folder(one.output.traces);
  if (speaks(options, environment))
    for (const GenerateOptions& one : each)
      for (const auto& text : notices(given, one, model)) fmt::print(stderr, "# {}\n", text);
  if (speaks(options, environment))
    for (const auto& text : prompt_notices(options, plan, model.geometry())) fmt::print(stderr, "# {}\n", text);
  if (runs && options.run.backend == "nccl") find_nccl_module();
  // Once for a run: others find the snapshots that it keeps.
  if (options.snapshots.active() && !launched_by_us() && (!environment || environment->rank == 0))
    check_snapshot_folder(options);
  if (runs && !environment && (world_size > 1 || options.snapshots.restarts > 0))
    return with_way_on(options, arguments, [&] { launch_run(options, arguments, world_size); });
  std::optional<OnInterrupt> interrupt;
  if (world_size == 1 || !runs) interrupt.emplace([&options] { return what_is_kept(options); });
  if (runs) return with_way_on(options, arguments, [&] { run_as_rank(options, model, environment, arguments); });
  const std::optional<ResultLine> line = emulate(options, model);
  if (line && !options.run.quiet) print_summary(options, *line);
}

}  // namespace dualparal
