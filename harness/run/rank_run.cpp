// SPDX-License-Identifier: Apache-2.0
#include "harness/run/rank_run.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "base/device.h"
#include "base/errors.h"
#include "base/finite.h"
#include "base/measure/memory.h"
#include "base/measure/nvtx.h"
#include "base/progress.h"
#include "comm/emulated_communicator.h"
#include "harness/options/endless_options.h"
#include "harness/options/resolve_options.h"
#include "harness/options/strategies.h"
#include "harness/record/statistics.h"
#include "harness/run/clock_alignment.h"
#include "harness/run/noting_sink.h"
#include "model/checkpoint/safetensors.h"
#include "strategy/denoise/number_watch.h"

namespace dualparal {
namespace {

constexpr const char* kFp16Hint = " (fp16 holds numbers up to 65504; bf16 and fp32 hold larger ones: --dtype)";

// The same on every rank: they must agree on whether to go on. Emulated ranks are measured alone. Ranks with less to do
// than others, or nothing, are here long before them.
double latency_of_slowest(Communicator& comm, double seconds) {
  double slowest = 0;
  for (const std::string& text : comm.gather_patiently(fmt::format("{:.17g}", seconds)))
    slowest = std::max(slowest, std::stod(text));
  return slowest;
}

bool enough(const std::vector<double>& samples, const RunOptions& options) {
  const auto count = static_cast<int64_t>(samples.size());
  if (count < options.repeats) return false;
  if (options.until_interval == 0 || count >= options.max_repeats) return true;
  const MeanInterval interval = mean_interval(samples);
  return interval.half_width <= options.until_interval * interval.mean;  // not of one sample, whose interval is NaN
}

// All videos of the run: at once, or each when the one before is finished on every rank.
void denoise_videos(const RankRun& run, const DenoiseContext& context) {
  if (run.following.empty()) return run.strategy.denoise(context);
  if (queues_videos(run.options.run)) {
    DenoiseContext all = context;
    all.following = run.following;
    return run.strategy.denoise(all);
  }
  context.recorder.begin_video();
  run.strategy.denoise(context);
  for (const Request& next : run.following) {
    context.comm.barrier();
    context.recorder.begin_video();
    run.strategy.denoise({next, context.transformer, context.comm, context.recorder, context.sink, context.progress,
                          context.snapshots, context.receive_ahead});
  }
}

// Denoises. Iterations after which an endless run was told to stop; none: the videos have their end.
std::optional<int64_t> denoise_all(const RankRun& run, const DenoiseContext& context) {
  if (!is_endless(run.options)) {
    denoise_videos(run, context);
    return std::nullopt;
  }
  try {
    run.strategy.denoise(context);
  } catch (const RunStopped& stopped) {
    return stopped.done();
  }
  return 0;  // a rank that had nothing to do
}

RankTrace denoise_once(const RankRun& run, const Request& request, const Experts& experts, Communicator& comm,
                       Recorder& recorder, LatentsSink& sink, std::optional<int64_t>& stopped_after) {
  const at::Device device = run.placement.device;
  recorder.clear();
  recorder.set_phase("waiting for all ranks to be ready");
  (run.all_ranks ? *run.all_ranks : comm).barrier();
  std::optional<NumberWatch> watch;
  // Emulated ranks receive numbers of no meaning: what comes of them may be anything.
  if (run.options.run.mode == Mode::kRun)
    watch.emplace(recorder, device, run.placement.dtype == at::kHalf ? kFp16Hint : "");
  synchronize(device);
  reset_peak_memory(device);
  restart_peak_resident();
  const auto sums = std::make_shared<EventSums>();
  if (is_endless(run.options))
    recorder.hand_to([](const Event&) {});
  else if (!run.keeps_events)
    recorder.hand_to([sums](const Event& event) { sums->add(event); });
  const int64_t allocations_before = memory_usage(device).device_allocations;
  NotingSink noting(sink, recorder, watch);
  const SavedRun* resumed = run.snapshots.resumed();
  FirstFrameSink finished(noting, resumed && resumed->finished > 0 ? at::Tensor() : request.first_frame,
                          request.latent_frames);
  RankTrace trace;
  trace.begin_s = event_clock();
  {
    const NvtxRange range("{}: denoise, rank {} of {}", run.options.run.strategy, comm.rank(), comm.world_size());
    Progress progress(run.title, "step", run.options.run.quiet || !run.shows_progress);
    const auto without_end = [&](int64_t, int64_t) { progress.count(noting.frames(), "latent frames"); };
    const auto to_end = [&](int64_t done, int64_t all) { progress.update(done, all); };
    DenoiseContext context{request,  experts, comm,          recorder,
                           finished, to_end,  run.snapshots, static_cast<size_t>(run.options.run.receive_ahead)};
    if (is_endless(run.options)) context.progress = without_end;
    stopped_after = denoise_all(run, context);
    synchronize(device);
  }
  trace.end_s = event_clock();
  run.snapshots.ended();
  if (watch) watch->check();
  if (is_endless(run.options) || !run.keeps_events) {
    sums->move(recorder.end_handing());
    trace.sums = std::move(*sums);
  } else {
    trace.events = recorder.events();
  }
  const MemoryUsage memory = memory_usage(device);
  trace.peak_memory_bytes = memory.peak_allocated_bytes;
  trace.peak_reserved_bytes = memory.peak_reserved_bytes;
  trace.host_cache_bytes = host_memory_usage().peak_allocated_bytes;
  trace.weights_bytes = experts.weights_bytes();
  if (!device.is_meta()) trace.process_memory_bytes = peak_resident_bytes_since_restart();
  trace.device_used_bytes = device_used_bytes(device);
  if (memory.device_allocations >= 0) trace.device_allocations = memory.device_allocations - allocations_before;
  return trace;
}

}  // namespace

Request make_request(const GenerateOptions& options, const WanModel& model) {
  Request request;
  request.latent_frames = model.geometry().latent_frames(*options.video.frames);
  request.latent_height = *options.video.height / model.vae_config().spatial_stride();
  request.latent_width = *options.video.width / model.vae_config().spatial_stride();
  request.channels = model.geometry().channels;
  request.scheduler = model.scheduler_config();
  request.scheduler.flow_shift = *options.sampling.flow_shift;
  request.sampler = parse_sampler(options.sampling.sampler);
  request.num_inference_steps = *options.sampling.steps;
  request.guidance_scale = *options.sampling.guidance_scale;
  request.guidance_scale_2 = options.sampling.guidance_scale_2;
  request.boundary_timestep = model.boundary_timestep();
  request.seed = options.sampling.seed;
  set_attention(request, options.attention);
  if (!options.sampling.initial_noise.empty()) {
    request.initial_noise = read_tensor(options.sampling.initial_noise, "noise",
                                        {1, request.channels, -1, request.latent_height, request.latent_width})
                                .to(at::kFloat);
    check_finite(request.initial_noise,
                 fmt::format("--initial-noise {}: tensor 'noise'", options.sampling.initial_noise));
    check(request.initial_noise.size(2) >= request.latent_frames,
          "--initial-noise {}: {} latent frames, expected at least {} for {} video frames",
          options.sampling.initial_noise, request.initial_noise.size(2), request.latent_frames, *options.video.frames);
  }
  return request;
}

PromptEmbeds read_prompt_embeds(const GenerateOptions& options, int64_t text_dim) {
  const std::vector<int64_t> shape{1, -1, text_dim};
  const auto read = [&](const char* name) {
    const at::Tensor tensor = read_tensor(options.video.prompt_embeds, name, shape);
    check_finite(tensor, fmt::format("--prompt-embeds {}: tensor '{}'", options.video.prompt_embeds, name));
    return tensor;
  };
  PromptEmbeds embeds{read("prompt_embeds"), {}};
  if (*options.sampling.guidance_scale > 1) embeds.negative = read("negative_prompt_embeds");
  return embeds;
}

ImageCondition read_image_embeds(const GenerateOptions& options, const WanModel& model, const Request& request) {
  const std::string& file = options.video.image_embeds;
  const auto read = [&](const char* name, const std::vector<int64_t>& shape) {
    const at::Tensor tensor = read_tensor(file, name, shape);
    check_finite(tensor, fmt::format("--image-embeds {}: tensor '{}'", file, name));
    return tensor;
  };
  const TransformerConfig& config = model.transformer_config();
  const int64_t channels = model.takes_first_frame() ? request.channels : config.condition_channels();
  ImageCondition out;
  if (model.needs_image_embeds()) out.embeds = read("image_embeds", {1, model.image_tokens(), config.image_dim});
  out.condition = read("condition", {1, channels, -1, request.latent_height, request.latent_width});
  if (model.takes_first_frame()) {
    check(out.condition.size(2) == 1, "--image-embeds {}: 'condition' has {} latent frames, expected 1, the first",
          file, out.condition.size(2));
    return out;
  }
  check(out.condition.size(2) == request.latent_frames,
        "--image-embeds {}: 'condition' has {} latent frames, expected {} for {} video frames", file,
        out.condition.size(2), request.latent_frames, *options.video.frames);
  return out;
}

void set_image(Request& request, const ImageCondition& image, const WanModel& model) {
  request.image_embeds = image.embeds;
  (model.takes_first_frame() ? request.first_frame : request.condition) = image.condition;
}

RankResult run_rank(const RankRun& run, const Request& request, Communicator& comm, Recorder& recorder,
                    LatentsSink& sink) {
  const at::Device device = run.placement.device;
  RankResult result;
  recorder.set_phase("loading weights");
  const Stopwatch load;
  std::vector<std::unique_ptr<Transformer>> own;
  auto& loaded = run.kept ? *run.kept : own;
  const bool first = loaded.empty();
  for (int64_t expert = 0; first && expert < run.model.experts(); ++expert)
    loaded.push_back(run.model.load_transformer(run.placement, run.plan.parts.at(comm.rank()), expert));
  const Experts experts = loaded.size() == 1 ? Experts(*loaded[0]) : Experts(*loaded[0], *loaded[1]);
  synchronize(device);
  result.load_s = load.seconds();

  recorder.set_phase("taking memory");
  NullSink none;
  DenoiseContext prepared{request, experts, comm, recorder, none};
  if (queues_videos(run.options.run)) prepared.following = run.following;
  run.strategy.prepare(prepared);

  const auto warm_up = [&](Communicator& with) {
    recorder.set_phase("warming up");
    const NvtxRange range("{}: warm-up, rank {} of {}", run.options.run.strategy, comm.rank(), comm.world_size());
    Request warmup = request;
    warmup.latent_frames = planned_latent_frames(run.options, run.model);
    warmup.num_inference_steps = std::min(*run.options.run.warmup_steps, request.num_inference_steps);
    NullSink nowhere;
    DenoiseContext context{warmup, experts, with, recorder, nowhere};
    context.receive_ahead = static_cast<size_t>(run.options.run.receive_ahead);
    run.strategy.denoise(context);
    synchronize(device);
    recorder.clear();
  };
  // First without the others: a receive of NCCL's that waits on the GPU would hold up the loading of a kernel, or the
  // allocator, which the rank needs to send what the others wait for.
  const bool warms_up = first && *run.options.run.warmup_steps > 0;
  if (warms_up && run.options.run.backend == "nccl" && comm.world_size() > 1)
    warm_up(*emulated_communicator(comm.rank(), comm.world_size()));
  recorder.set_phase("connecting to other ranks");
  comm.connect(run.plan.links());
  if (warms_up) warm_up(comm);

  std::optional<WorkMeter> meter;
  if (run.count_work) meter.emplace();
  recorder.note_memory(run.count_work);
  Communicator& all = run.all_ranks ? *run.all_ranks : comm;
  const ClockOffset clock = align_clock(all, clock_host(), event_clock);
  std::vector<RankTrace> repeats;
  NullSink nowhere;
  do {
    repeats.push_back(
        denoise_once(run, request, experts, comm, recorder, repeats.empty() ? sink : nowhere, result.stopped_after));
    const RankTrace& last = repeats.back();
    result.samples.push_back(latency_of_slowest(all, last.end_s - last.begin_s));
  } while (!enough(result.samples, run.options.run));
  auto sorted = result.samples;
  std::ranges::sort(sorted);
  const auto typical = std::ranges::find(result.samples, sorted[(sorted.size() - 1) / 2]) - result.samples.begin();
  result.trace = std::move(repeats[typical]);
  result.trace.shift(clock.offset_s);
  result.trace.clock_offset_s = clock.offset_s;
  result.trace.clock_error_s = clock.error_s;
  return result;
}

}  // namespace dualparal
