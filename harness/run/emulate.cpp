// SPDX-License-Identifier: Apache-2.0
#include "harness/run/emulate.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include "base/clock.h"
#include "base/cuda.h"
#include "base/device.h"
#include "base/errors.h"
#include "base/measure/memory.h"
#include "comm/emulated_communicator.h"
#include "harness/options/prompt_list.h"
#include "harness/options/resolve_options.h"
#include "harness/options/result_header.h"
#include "harness/options/strategies.h"
#include "harness/options/timed_prompts.h"
#include "harness/options/trace_options.h"
#include "harness/record/gpu_state.h"
#include "harness/record/provenance.h"
#include "harness/record/results.h"
#include "harness/run/rank_run.h"
#include "harness/run/replica_plans.h"
#include "harness/shorten/shortening.h"
#include "harness/shorten/stage_as_one.h"
#include "harness/trace/rank_lines.h"
#include "model/ops/attention_kernel.h"
#include "model/ops/kernels.h"
#include "model/ops/meta_kernels.h"

namespace dualparal {
namespace {

// The device that ranks compute on; for shapes alone, told which device's kernels are meant.
at::Device compute_device(const GenerateOptions& options) {
  if (options.run.mode == Mode::kEmulate) {
    const at::Device device = parse_device(options.model.device);
    choose_kernels(options.model.kernels, device);
    return device;
  }
  choose_kernels(options.model.kernels, at::kMeta);
  set_traced_device(named_device(options.model.device).type());
  count_meta_memory();
  register_meta_kernels();
  return at::kMeta;
}

// Embeddings of the file, or noise of a prompt's shape: the latents have no meaning anyhow, as ranks hear nothing of
// each other.
void set_prompt(Request& request, const GenerateOptions& options, const WanModel& model, const at::Device& device) {
  const std::vector<int64_t> shape{1, model.text_tokens(), model.transformer_config().text_dim};
  PromptEmbeds embeds;
  if (!options.video.prompt_embeds.empty())
    embeds = read_prompt_embeds(options, shape[2]);
  else
    embeds.prompt = device.is_meta() ? at::empty(shape, at::TensorOptions().device(device))
                                     : at::randn(shape, at::detail::createCPUGenerator(request.seed));
  if (!embeds.negative.defined()) embeds.negative = embeds.prompt;
  const auto placed = [&](const at::Tensor& tensor) {
    return device.is_meta() ? at::empty_like(tensor, device) : tensor;
  };
  request.prompt_embeds = placed(embeds.prompt);
  request.negative_prompt_embeds = placed(embeds.negative);
  for (const TimedPrompt& one : options.video.timed_prompts)
    if (one.frame > 0)
      request.later_prompts.push_back({latent_frame_from(one.frame, model.geometry()), placed(embeds.prompt)});
}

// A condition of the right shapes.
ImageCondition image_of(const Request& request, const GenerateOptions& options, const WanModel& model,
                        const at::Device& device) {
  if (!options.video.image_embeds.empty() && !device.is_meta()) return read_image_embeds(options, model, request);
  const auto on_device = at::TensorOptions().device(device);
  ImageCondition image;
  if (model.needs_image_embeds())
    image.embeds = at::zeros({1, model.image_tokens(), model.transformer_config().image_dim}, on_device);
  const bool first = model.takes_first_frame();
  image.condition = at::zeros({1, first ? request.channels : model.transformer_config().condition_channels(),
                               first ? 1 : request.latent_frames, request.latent_height, request.latent_width},
                              on_device);
  return image;
}

void set_images(Request& request, const GenerateOptions& options, const WanModel& model, const at::Device& device) {
  if (shows_image(options, model)) set_image(request, image_of(request, options, model, device), model);
}

// What all ranks share.
struct Ranks {
  const GenerateOptions& options;
  const WanModel& model;
  Strategy& strategy;
  const StrategyPlan& plan;
  Placement placement;
  int64_t world_size = 1;  // of a replica
  Range chosen;            // of them: those that are run
  std::vector<Request> following = {};
  int64_t first_rank = 0;  // of the replica, among all
  double load_s = 0;       // of the rank that took longest

  bool shapes_only() const { return options.run.mode == Mode::kTrace; }
};

std::vector<RankTrace> each_rank(Ranks& ranks, const Request& request) {
  const GenerateOptions& options = ranks.options;
  const int64_t world_size = ranks.world_size;
  const at::Device device = ranks.placement.device;
  const int64_t as_one = ranks_as_one(options.run);
  std::vector<RankTrace> traces;
  for (int64_t rank = ranks.chosen.begin; rank < ranks.chosen.end; rank += as_one) {
    Recorder recorder(device);
    recorder.count_ranks_from(ranks.first_rank);
    const auto comm = emulated_communicator(rank, world_size);
    const auto title = fmt::format("{} {}, rank {} of {}", ranks.shapes_only() ? "trace" : "emulate",
                                   options.run.strategy, ranks.first_rank + rank, options.run.world_size);
    NullSink nowhere;
    try {
      RankResult result = run_rank({.options = options,
                                    .model = ranks.model,
                                    .strategy = ranks.strategy,
                                    .plan = ranks.plan,
                                    .placement = ranks.placement,
                                    .count_work = true,
                                    .shows_progress = true,
                                    .title = title,
                                    .following = ranks.following},
                                   request, *comm, recorder, nowhere);
      result.trace.timed = !ranks.shapes_only();
      if (ranks.shapes_only())  // between messages that follow each other, nothing is computed
        std::erase_if(result.trace.events,
                      [](const Event& e) { return e.kind == Event::Kind::kCompute && e.work.operations == 0; });
      ranks.load_s = std::max(ranks.load_s, result.load_s);
      if (as_one > 1) result.trace = stage_as_one(std::move(result.trace), rank, as_one);
      traces.push_back(std::move(result.trace));
    } catch (const c10::OutOfMemoryError& error) {
      fail("out of memory: rank {} while {}: {}", ranks.first_rank + rank, recorder.activity(),
           error.what_without_backtrace());
    } catch (const c10::AcceleratorError& error) {
      fail("rank {} while {}: {}", ranks.first_rank + rank, recorder.activity_of_device(), first_line(error.what()));
    }
    release_cached_memory(device);
  }
  if (as_one > 1) check_stages(traces);
  return traces;
}

// Noise and condition of a traced run: shapes without memory.
void set_shapes(Request& request, const GenerateOptions& options, const WanModel& model, const at::Device& device) {
  set_images(request, options, model, device);
  request.initial_noise =
      at::empty({1, 1, 1, 1, 1}, at::TensorOptions().device(device))
          .expand({1, request.channels, request.latent_frames, request.latent_height, request.latent_width});
}

std::vector<RankTrace> traces_of(Ranks& ranks, const Request& request) {
  const GenerateOptions& options = ranks.options;
  if (!options.run.short_traces) return each_rank(ranks, request);
  const WholeRun whole{.repeats = find_strategy(options.run.strategy).repeats,
                       .options = options.run.strategy_options,
                       .size = {request.num_inference_steps, request.latent_frames},
                       .ranks = ranks.world_size,
                       .experts = request.experts(),
                       .guided = request.guided(),
                       .step_period = request.sparse_attention ? request.sparse_attention->global_every : 1};
  return short_traces(whole, [&](const RunSize& size) {
    Request shorter = request;
    shorter.num_inference_steps = size.steps;
    shorter.latent_frames = size.latent_frames;
    set_shapes(shorter, options, ranks.model, ranks.placement.device);
    return each_rank(ranks, shorter);
  });
}

// A run of which some ranks are made.
struct Emulation {
  Request request;
  Placement placement;
  std::vector<ReplicaPlan> plans;
  std::vector<RankTrace> traces = {};
  double load_s = 0;
};

// Those of a replica, or of its ranks the one.
std::vector<RankTrace> replica_traces(Emulation& run, const Replica& replica, std::optional<int64_t> only,
                                      const GenerateOptions& options, const WanModel& model, Strategy& strategy) {
  const int64_t count = replica.ranks.size();
  Ranks ranks{.options = options,
              .model = model,
              .strategy = strategy,
              .plan = plan_of(run.plans, replica).plan,
              .placement = run.placement,
              .world_size = count,
              .chosen = only ? Range{*only, *only + 1} : Range{0, count},
              .following = std::vector(replica.videos.size() - 1, run.request),
              .first_rank = replica.ranks.begin};
  auto traces = traces_of(ranks, run.request);
  run.load_s = std::max(run.load_s, ranks.load_s);
  return traces;
}

// With shapes alone, replicas that have as many videos do the same: the first of them is traced.
void add_replicas(Emulation& run, const GenerateOptions& options, const WanModel& model, Strategy& strategy) {
  size_t videos = 0;  // of the replica before
  for (const Replica& replica : replicas_of(options, options.run.world_size)) {
    const auto count = static_cast<size_t>(replica.ranks.size());
    const bool again = options.run.mode == Mode::kTrace && replica.videos.size() == videos;
    videos = replica.videos.size();
    if (!again) {
      for (RankTrace& trace : replica_traces(run, replica, std::nullopt, options, model, strategy))
        run.traces.push_back(std::move(trace));
      continue;
    }
    for (size_t rank = 0; rank < count; ++rank) {
      RankTrace trace = run.traces[run.traces.size() - count];
      trace.move_peers(replica.ranks.size());
      run.traces.push_back(std::move(trace));
    }
  }
}

// All ranks, or one of the first replica's.
Emulation emulated(const GenerateOptions& options, const WanModel& model, std::optional<int64_t> only) {
  const c10::InferenceMode inference;
  const bool shapes_only = options.run.mode == Mode::kTrace;
  const at::Device device = compute_device(options);
  if (options.model.threads > 0) at::set_num_threads(static_cast<int>(options.model.threads));
  const auto strategy = find_strategy(options.run.strategy).make(options.run.strategy_options);
  Request request = make_request(options, model);
  set_prompt(request, options, model, device);
  if (shapes_only)
    set_shapes(request, options, model, device);
  else
    set_images(request, options, model, device);
  auto plans = plan_replicas(options, request, model, *strategy, options.run.world_size);
  Emulation out{std::move(request), {device, parse_dtype(options.model.dtype)}, std::move(plans)};
  if (only)
    out.traces =
        replica_traces(out, replicas_of(options, options.run.world_size).front(), only, options, model, *strategy);
  else
    add_replicas(out, options, model, *strategy);
  return out;
}

TraceSet emulated_set(const GenerateOptions& options, const WanModel& model) {
  const Stopwatch total;
  const bool shapes_only = options.run.mode == Mode::kTrace;
  const int64_t world_size = options.run.world_size;
  Emulation made = emulated(options, model, std::nullopt);
  const at::Device device = made.placement.device;
  ResultLine line = result_header(options, model.name(), made.request.latent_frames, world_size);
  set_rank_fields(line, made.traces);
  if (!shapes_only) line.load_s = made.load_s;
  line.total_s = total.seconds();
  set_formula_fields(line, made.plans);
  set_config(line, options);
  line.program_hash = program_hash();
  line.provenance = provenance(shapes_only ? at::Device(at::kCPU) : device);
  line.provenance["kernels"] = kernels_on(named_device(options.model.device).type());
  line.provenance["attention"] =
      attention_kernel(device, made.placement.dtype, model.transformer_config().attention_head_dim);
  if (options.run.stages_as_one) line.provenance["stages_as_one"] = ranks_as_one(options.run);
  line.provenance["gpu_state"] = device.is_cuda() ? gpu_state(pci_address(device)) : nullptr;
  return {std::move(line), std::move(made.traces)};
}

}  // namespace

ResultLine emulate(const GenerateOptions& options, const WanModel& model) {
  TraceSet set = emulated_set(options, model);
  if (!options.output.result.empty()) append_result(options.output.result, set.run);
  if (!options.output.traces.empty()) write_traces(options.output.traces, set.ranks, set.run);
  return std::move(set.run);
}

TraceSet trace_run(const GenerateOptions& options, const WanModel& model) {
  check(options.run.mode == Mode::kTrace, "traces of shapes come from --mode trace, not {}",
        mode_name(options.run.mode));
  return emulated_set(options, model);
}

RankTrace trace_rank(const GenerateOptions& options, const WanModel& model, int64_t rank) {
  check(options.run.mode == Mode::kTrace, "traces of shapes come from --mode trace, not {}",
        mode_name(options.run.mode));
  return std::move(emulated(options, model, rank).traces.front());
}

}  // namespace dualparal
