// SPDX-License-Identifier: Apache-2.0
#include "harness/run/generate.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstdlib>
#include <thread>

#include "base/device.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/nvtx.h"
#include "comm/nccl_communicator.h"
#include "comm/rank_group.h"
#include "harness/options/strategies.h"
#include "harness/record/provenance.h"
#include "harness/record/result_figures.h"
#include "harness/record/results.h"
#include "harness/run/comparing.h"
#include "harness/run/emulate.h"
#include "harness/run/launcher.h"
#include "harness/run/rank_run.h"
#include "harness/run/video_sink.h"
#include "harness/trace/rank_figures.h"
#include "model/checkpoint/safetensors.h"
#include "strategy/denoise/noise.h"

namespace dualparal {
namespace {

// Ranks must agree on everything that decides what is sent: options, model, program.
void check_agreement(Communicator& comm, const GenerateOptions& options) {
  if (comm.world_size() == 1) return;
  nlohmann::json mine = nlohmann::json(to_json(options));
  mine["model configuration"] =
      text_hash(read_file(std::filesystem::path(options.model) / "transformer" / "config.json"));
  mine["program"] = text_hash(read_file("/proc/self/exe"));
  for (const char* own : {"model", "threads", "nproc"}) mine.erase(own);
  const auto all = comm.gather(mine.dump());
  const auto first = nlohmann::json::parse(all[0]);
  for (size_t rank = 1; rank < all.size(); ++rank) {
    const auto other = nlohmann::json::parse(all[rank]);
    for (const auto& [name, value] : first.items())
      check(other.contains(name) && other[name] == value, "rank {} was started with another {} than rank 0: {} and {}",
            rank, name, other.contains(name) ? other[name].dump() : "none", value.dump());
  }
}

// Rank 0's prompt embeddings, on every rank.
void share(Communicator& comm, at::Tensor& tensor) {
  const auto texts = comm.gather(tensor.defined() ? nlohmann::json(tensor.sizes().vec()).dump() : "null");
  const auto shape = nlohmann::json::parse(texts[0]);
  if (shape.is_null() || comm.world_size() == 1) return;
  tensor = comm.rank() == 0 ? tensor.to(at::kFloat) : at::empty(shape.get<std::vector<int64_t>>());
  comm.broadcast(tensor);
}

at::Device rank_device(const GenerateOptions& options, const std::optional<RankEnvironment>& environment) {
  const at::Device device = parse_device(options.device);
  if (!device.is_cuda() || !environment || options.device != "cuda") return device;
  const auto index = environment->local_rank % at::detail::getCUDAHooks().deviceCount();
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
}

int64_t rank_threads(const GenerateOptions& options, const std::optional<RankEnvironment>& environment) {
  if (options.threads > 0 || !environment || std::getenv("OMP_NUM_THREADS")) return options.threads;
  return std::max<int64_t>(1, std::thread::hardware_concurrency() / environment->local_world_size);
}

// The time and memory of one phase on a device.
struct Phase {
  explicit Phase(const at::Device& device) : device(device) {
    synchronize(device);
    reset_peak_memory(device);
    watch = Stopwatch();
  }
  void stop() {
    synchronize(device);
    seconds = watch.seconds();
    memory = memory_usage(device);
  }
  at::Device device;
  Stopwatch watch;
  double seconds = 0;
  MemoryUsage memory;
};

// One rank's run. The result line on rank 0, null on the others.
nlohmann::ordered_json generate(const GenerateOptions& options, Recorder& recorder, RankGroup& group,
                                const at::Device& device) {
  const c10::InferenceMode inference;
  const StrategyEntry& entry = find_strategy(options.strategy);
  const auto strategy = entry.make(options.strategy_options);
  const bool leads = group.rank() == 0;
  const Placement placement{device, parse_dtype(options.dtype)};
  const Placement vae_placement{device, parse_dtype(options.vae_dtype)};
  const Stopwatch total;

  recorder.set_phase("comparing options");
  check_agreement(group.comm(), options);
  const WanModel model(options.model, options.random_weights);
  Request request = make_request(options, model);
  const Workload work = workload_of(request, model, placement.dtype, group.world_size());
  const StrategyPlan plan = strategy->plan(work);

  const std::function<std::unique_ptr<Vae>()> load_vae = [&] {
    return model.load_vae(vae_placement, Vae::Parts::kDecoder);
  };
  std::unique_ptr<QualityMeter> quality;
  std::unique_ptr<ScratchLatents> scratch;  // for latents that nobody asked to keep
  std::unique_ptr<VideoSink> sink;
  std::string latents_path = options.save_latents;
  if (leads && !options.reference_latents.empty()) {
    check_reference(options.reference_latents,
                    {1, request.channels, request.latent_frames, request.latent_height, request.latent_width});
    if (latents_path.empty()) latents_path = (scratch = std::make_unique<ScratchLatents>())->path();
  }
  if (leads) {
    if (!options.no_quality)
      quality = std::make_unique<QualityMeter>(QualitySubject{.frames = *options.frames,
                                                              .latent_frames = request.latent_frames,
                                                              .block_starts = plan.block_starts,
                                                              .prompt = options.prompt.value_or(""),
                                                              .content = model.name() == "moving-shapes"});
    // On a GPU decoding would take the time and memory that are being measured.
    const bool overlap = entry.streams_blocks && device.is_cpu();
    const VideoSinkOptions sink_options{*options.frames, *options.height,     *options.width,
                                        *options.fps,    !options.no_decode,  overlap,
                                        options.output,  options.save_frames, latents_path};
    sink = std::make_unique<VideoSink>(sink_options, load_vae, quality.get());
  }

  recorder.set_phase("encoding the prompt");
  Phase text_phase(device);
  PromptEmbeds embeds;
  if (leads)
    embeds = options.prompt_embeds.empty() ? model.encode_prompts(*options.prompt, *options.negative_prompt, placement)
                                           : read_prompt_embeds(options, model.transformer_config().text_dim);
  text_phase.stop();
  // The text encoder is gone: neither a peak nor other ranks on this device shall find its memory taken.
  release_cached_memory(device);
  share(group.comm(), embeds.prompt);
  share(group.comm(), embeds.negative);
  request.prompt_embeds = embeds.prompt;
  request.negative_prompt_embeds = embeds.negative;
  if (leads && !options.save_prompt_embeds.empty()) {
    std::map<std::string, at::Tensor> tensors{{"prompt_embeds", embeds.prompt.to(at::kFloat)}};
    if (embeds.negative.defined()) tensors["negative_prompt_embeds"] = embeds.negative.to(at::kFloat);
    write_safetensors(options.save_prompt_embeds, tensors);
  }
  if (leads && !options.save_noise.empty())
    write_safetensors(options.save_noise, {{"noise", strategy->initial_noise(request)}});

  NullSink null_sink;
  const RankRun run{options, model, *strategy, placement, !options.traces.empty(), leads, options.strategy};
  const RankResult own =
      run_rank(run, request, group.comm(), recorder, leads ? static_cast<LatentsSink&>(*sink) : null_sink);
  recorder.set_phase("gathering the ranks' figures");
  std::vector<RankTrace> traces;
  for (const auto& text : group.comm().gather(own.trace.to_text())) traces.push_back(RankTrace::from_text(text));
  if (!leads) return nullptr;
  recorder.set_phase("decoding and writing the video");
  sink->finish();
  if (!options.timeline.empty()) write_file(options.timeline, chrome_trace(traces).dump());

  auto record = result_header(options, model.name(), request.latent_frames, group.world_size());
  set_rank_fields(record, traces);
  using Json = nlohmann::ordered_json;
  record["text_encode_s"] = text_phase.seconds;
  record["load_s"] = own.load_s;
  record["decode_s"] = options.no_decode ? Json(nullptr) : Json(sink->decode_s());
  record["total_s"] = total.seconds();
  record["text_peak_memory_bytes"] = text_phase.memory.peak_allocated_bytes;
  record["decode_peak_memory_bytes"] =
      options.no_decode || !device.is_cpu() ? Json(nullptr) : Json(sink->decode_peak_memory_bytes());
  record["peak_resident_bytes"] = peak_resident_bytes();
  set_formula_fields(record, plan, work);
  record["quality"] = quality ? nlohmann::ordered_json(quality->result()) : nullptr;
  if (!options.reference_latents.empty())
    record["quality"].update(compare_latents(latents_path, options.reference_latents, *options.frames,
                                             options.no_decode ? nullptr : load_vae));
  record["status"] = "ok";
  record["error"] = nullptr;
  record["config"] = to_json(options);
  record["config_hash"] = text_hash(record["config"].dump());
  record["provenance"] = provenance(device);
  if (!options.traces.empty()) write_traces(options.traces, traces, record);
  return record;
}

void print_summary(const GenerateOptions& options, const nlohmann::ordered_json& record) {
  fmt::print("{} frames ({} latent) of {} x {}: ", record["frames"].get<int64_t>(),
             record["latent_frames"].get<int64_t>(), record["width"].get<int64_t>(), record["height"].get<int64_t>());
  if (record["kind"] == "measured")
    fmt::print("denoised in {:.2f} s, ", record["latency_s"].get<double>());
  else
    fmt::print("{} ranks {}, {:.4g} TFLOP in all, ", record["world_size"].get<int64_t>(),
               record["kind"].get<std::string>(), record["flops"].get<double>() / 1e12);
  if (record.contains("decode_s") && !record["decode_s"].is_null())
    fmt::print("decoded in {:.2f} s, ", record["decode_s"].get<double>());
  fmt::print("peak memory {:.1f} MiB\n", record["peak_memory_bytes"].get<double>() / (1 << 20));
  for (const auto& path : {options.output, options.save_latents, options.save_noise, options.save_prompt_embeds,
                           options.timeline, options.traces})
    if (!path.empty()) fmt::print("wrote {}\n", path);
}

}  // namespace

void run_generate(const GenerateOptions& given, const std::vector<std::string>& arguments) {
  GenerateOptions options = given;
  resolve_generate_options(options);
  const auto environment = rank_environment();
  const bool runs = options.mode == "run";
  check_usage(
      runs || (!environment && options.nproc == 1),
      "--mode {}: all ranks are in one process; give their number as --world-size, without --nproc or a launcher",
      options.mode);
  const int64_t world_size = !runs ? options.world_size : environment ? environment->world_size : options.nproc;
  check_usage(!environment || options.nproc == 1 || options.nproc == world_size,
              "--nproc {}: this process is one of {} ranks that a launcher started; leave --nproc out", options.nproc,
              world_size);
  if (runs) options.nproc = world_size;
  const int64_t rank = environment ? environment->rank : 0;
  {  // before any rank is started: an impossible plan is refused once
    const WanModel model(options.model, options.random_weights);
    find_strategy(options.strategy)
        .make(options.strategy_options)
        ->plan(workload_of(make_request(options, model), model, parse_dtype(options.dtype), world_size));
  }
  if (!options.traces.empty()) {  // before the work, not after it
    std::error_code why;
    std::filesystem::create_directories(options.traces, why);
    check(!why, "--traces {}: cannot make the folder: {}", options.traces, why.message());
  }
  if (!runs) {
    const auto record = emulate(options);
    if (!options.result.empty()) append_line(options.result, record.dump());
    if (!options.quiet) print_summary(options, record);
    return;
  }
  if (options.backend == "nccl") find_nccl_module();
  if (!environment && world_size > 1) return launch_ranks(arguments, world_size);

  const int64_t threads = rank_threads(options, environment);
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
  if (options.backend == "nccl") load_nccl_module();
  const at::Device device = rank_device(options, environment);
  if (device.is_cuda())
    c10::impl::VirtualGuardImpl(device.type()).setDevice(device);  // none makes a context on another
  Recorder recorder(device);
  nlohmann::ordered_json record;
  {
    RankGroup group(environment, {std::chrono::seconds(options.timeout_s), options.backend, device}, recorder);
    try {
      record = generate(options, recorder, group, device);
    } catch (const std::exception& error) {
      // Other ranks may be in the middle of a message: no destructor may wait for them.
      if (group.world_size() > 1) group.end(group.explain(error));
      throw;
    }
  }
  if (rank != 0) return;
  if (!options.result.empty()) append_line(options.result, record.dump());
  if (!options.quiet) print_summary(options, record);
}

}  // namespace dualparal
