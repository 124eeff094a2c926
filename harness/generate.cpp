// SPDX-License-Identifier: Apache-2.0
#include "harness/generate.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <cstdlib>
#include <thread>

#include "harness/comparing.h"
#include "harness/launcher.h"
#include "harness/progress.h"
#include "harness/provenance.h"
#include "harness/rank_figures.h"
#include "harness/results.h"
#include "harness/strategies.h"
#include "harness/video_sink.h"
#include "model/safetensors.h"
#include "runtime/device.h"
#include "runtime/errors.h"
#include "runtime/files.h"
#include "runtime/memory.h"
#include "runtime/nvtx.h"
#include "runtime/rank_group.h"
#include "strategy/noise.h"

namespace dualparal {
namespace {

// Throws the latents away: for warming up.
struct NullSink final : LatentsSink {
  void push(const at::Tensor&) override {}
};

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

nlohmann::ordered_json per_rank_json(const RankFigures& f, const RankTrace& trace) {
  return {{"compute_s", f.compute_s},
          {"communication_s", f.communication_s},
          {"idle_s", f.idle_s},
          {"sent_bytes", f.sent_bytes},
          {"peak_memory_bytes", trace.peak_memory_bytes},
          {"peak_reserved_bytes", trace.peak_reserved_bytes},
          {"weights_bytes", trace.weights_bytes},
          {"flops", nullptr}};
}

PromptEmbeds read_prompt_embeds(const GenerateOptions& options, int64_t text_dim) {
  const std::vector<int64_t> shape{1, -1, text_dim};
  PromptEmbeds embeds{read_tensor(options.prompt_embeds, "prompt_embeds", shape), {}};
  if (*options.guidance_scale > 1)
    embeds.negative = read_tensor(options.prompt_embeds, "negative_prompt_embeds", shape);
  return embeds;
}

Request make_request(const GenerateOptions& options, const WanModel& model) {
  Request request;
  request.latent_frames = latent_frames_for(*options.frames);
  request.latent_height = *options.height / model.vae_config().spatial_stride();
  request.latent_width = *options.width / model.vae_config().spatial_stride();
  request.channels = model.transformer_config().in_channels;
  request.scheduler = model.scheduler_config();
  request.scheduler.flow_shift = *options.flow_shift;
  request.sampler = parse_sampler(options.sampler);
  request.num_inference_steps = *options.steps;
  request.guidance_scale = *options.guidance_scale;
  request.seed = options.seed;
  if (!options.initial_noise.empty()) {
    request.initial_noise =
        read_tensor(options.initial_noise, "noise",
                    {1, request.channels, -1, request.latent_height, request.latent_width}).to(at::kFloat);
    check(request.initial_noise.size(2) >= request.latent_frames,
          "--initial-noise {}: {} latent frames, expected at least {} for {} video frames", options.initial_noise,
          request.initial_noise.size(2), request.latent_frames, *options.frames);
  }
  return request;
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
  const RankInfo rank{group.rank(), group.world_size()};
  const bool leads = rank.rank == 0;
  const Placement placement{device, parse_dtype(options.dtype)};
  const Placement vae_placement{device, parse_dtype(options.vae_dtype)};
  const Stopwatch total;

  recorder.set_phase("comparing options");
  check_agreement(group.comm(), options);
  const WanModel model(options.model, options.random_weights);
  const TransformerParts parts = strategy->parts(model.transformer_config(), rank);
  Request request = make_request(options, model);

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
    if (!options.no_quality) quality = std::make_unique<QualityMeter>(QualitySubject{
        .frames = *options.frames, .latent_frames = request.latent_frames,
        .block_starts = strategy->block_starts(request, rank.world_size), .prompt = options.prompt.value_or(""),
        .content = model.name() == "moving-shapes"});
    const VideoSinkOptions sink_options{*options.frames, *options.height, *options.width, *options.fps,
                                        !options.no_decode, entry.streams_blocks, options.output, options.save_frames,
                                        latents_path};
    sink = std::make_unique<VideoSink>(sink_options, load_vae, quality.get());
  }

  recorder.set_phase("encoding the prompt");
  Phase text_phase(device);
  PromptEmbeds embeds;
  if (leads)
    embeds = options.prompt_embeds.empty()
                 ? model.encode_prompts(*options.prompt, *options.negative_prompt, placement)
                 : read_prompt_embeds(options, model.transformer_config().text_dim);
  text_phase.stop();
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

  recorder.set_phase("loading weights");
  Phase load_phase(device);
  const auto transformer = model.load_transformer(placement, parts);
  load_phase.stop();

  NullSink null_sink;
  if (options.warmup_steps > 0) {
    recorder.set_phase("warming up");
    const NvtxRange range("{}: warm-up, rank {} of {}", options.strategy, rank.rank, rank.world_size);
    Request warmup = request;
    warmup.num_inference_steps = std::min(options.warmup_steps, request.num_inference_steps);
    strategy->denoise(warmup, {*transformer, group.comm(), recorder}, null_sink);
    recorder.clear();
  }

  recorder.set_phase("waiting for all ranks to be ready");
  group.comm().barrier();
  Phase denoise_phase(device);
  if (leads) sink->restart_clock();
  RankTrace trace;
  trace.begin_s = event_clock();
  {
    const NvtxRange range("{}: denoise, rank {} of {}", options.strategy, rank.rank, rank.world_size);
    Progress progress(options.strategy, "step", options.quiet || !leads);
    strategy->denoise(request,
                      {*transformer, group.comm(), recorder,
                       [&](int64_t done, int64_t all) { progress.update(done, all); }},
                      leads ? static_cast<LatentsSink&>(*sink) : null_sink);
    denoise_phase.stop();
  }
  trace.end_s = event_clock();
  trace.events = recorder.events();
  trace.peak_memory_bytes = denoise_phase.memory.peak_allocated_bytes;
  trace.peak_reserved_bytes = denoise_phase.memory.peak_reserved_bytes;
  trace.weights_bytes = transformer->weights_bytes();
  recorder.set_phase("gathering the ranks' figures");
  std::vector<RankTrace> traces;
  for (const auto& text : group.comm().gather(trace.to_json().dump()))
    traces.push_back(RankTrace::from_json(nlohmann::json::parse(text)));
  if (!leads) return nullptr;
  recorder.set_phase("decoding and writing the video");
  sink->finish();
  if (!options.timeline.empty()) write_file(options.timeline, chrome_trace(traces).dump());

  const auto figures = rank_figures(traces);
  auto record = result_header(options, model.name(), request.latent_frames, rank.world_size);
  double latency = 0;
  int64_t peak = 0;
  auto per_rank = nlohmann::ordered_json::array();
  for (size_t r = 0; r < traces.size(); ++r) {
    latency = std::max(latency, traces[r].end_s - traces[r].begin_s);
    peak = std::max(peak, traces[r].peak_memory_bytes);
    per_rank.push_back(per_rank_json(figures[r], traces[r]));
  }
  using Json = nlohmann::ordered_json;
  record["latency_s"] = latency;
  record["first_block_s"] = sink->first_latents_s();
  record["text_encode_s"] = text_phase.seconds;
  record["load_s"] = load_phase.seconds;
  record["decode_s"] = options.no_decode ? Json(nullptr) : Json(sink->decode_s());
  record["total_s"] = total.seconds();
  record["per_rank"] = per_rank;
  record["peak_memory_bytes"] = peak;
  record["text_peak_memory_bytes"] = text_phase.memory.peak_allocated_bytes;
  record["decode_peak_memory_bytes"] =
      options.no_decode || !device.is_cpu() ? Json(nullptr) : Json(sink->decode_peak_memory_bytes());
  record["peak_resident_bytes"] = peak_resident_bytes();
  record["bubble_ratio"] = bubble_ratio(figures);
  int64_t sent = 0;
  for (const auto& f : figures) sent += f.sent_bytes;
  const AnalyticCost cost = strategy->analytic_cost(
      request, workload(request, model.transformer_config(), static_cast<int64_t>(c10::elementSize(placement.dtype))),
      rank.world_size);
  record["sent_bytes"] = sent;
  record["analytic_cost"] = {{"sent_bytes", std::llround(cost.sent_bytes)},
                             {"weights_bytes", std::llround(cost.weights_bytes)},
                             {"key_value_bytes", std::llround(cost.key_value_bytes)}};
  const auto slots = strategy->slots(request, rank.world_size);
  record["bubble_ratio_slots"] = slots ? Json(slots->bubble_ratio()) : Json(nullptr);
  record["quality"] = quality ? nlohmann::ordered_json(quality->result()) : nullptr;
  if (!options.reference_latents.empty())
    record["quality"].update(compare_latents(latents_path, options.reference_latents, *options.frames,
                                             options.no_decode ? nullptr : load_vae));
  record["status"] = "ok";
  record["error"] = nullptr;
  record["config"] = to_json(options);
  record["config_hash"] = text_hash(record["config"].dump());
  record["provenance"] = provenance(device);
  return record;
}

void print_summary(const GenerateOptions& options, const nlohmann::ordered_json& record) {
  fmt::print("{} frames ({} latent) of {} x {}: denoised in {:.2f} s", record["frames"].get<int64_t>(),
             record["latent_frames"].get<int64_t>(), record["width"].get<int64_t>(),
             record["height"].get<int64_t>(), record["latency_s"].get<double>());
  if (!record["decode_s"].is_null()) fmt::print(", decoded in {:.2f} s", record["decode_s"].get<double>());
  fmt::print(", peak memory {:.1f} MiB\n", record["peak_memory_bytes"].get<double>() / (1 << 20));
  for (const auto& path : {options.output, options.save_latents, options.save_noise, options.save_prompt_embeds,
                           options.timeline})
    if (!path.empty()) fmt::print("wrote {}\n", path);
}

}  // namespace

void run_generate(const GenerateOptions& given, const std::vector<std::string>& arguments) {
  GenerateOptions options = given;
  resolve_generate_options(options);
  const auto environment = rank_environment();
  const int64_t world_size = environment ? environment->world_size : options.nproc;
  check_usage(!environment || options.nproc == 1 || options.nproc == world_size,
              "--nproc {}: this process is one of {} ranks that a launcher started; leave --nproc out", options.nproc,
              world_size);
  options.nproc = world_size;
  const int64_t rank = environment ? environment->rank : 0;
  {  // what cannot be, said once and before any rank is started
    const WanModel model(options.model, options.random_weights);
    find_strategy(options.strategy).make(options.strategy_options)->parts(model.transformer_config(),
                                                                         {rank, world_size});
  }
  if (!environment && world_size > 1) return launch_ranks(arguments, world_size);

  const int64_t threads = rank_threads(options, environment);
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
  const at::Device device = rank_device(options, environment);
  Recorder recorder(device);
  nlohmann::ordered_json record;
  {
    RankGroup group(environment, {std::chrono::seconds(options.timeout_s), options.backend}, recorder);
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
