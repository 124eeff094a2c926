// SPDX-License-Identifier: Apache-2.0
#include "harness/generate.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <cstdlib>

#include "harness/progress.h"
#include "harness/provenance.h"
#include "harness/results.h"
#include "harness/strategies.h"
#include "harness/video_sink.h"
#include "model/safetensors.h"
#include "runtime/device.h"
#include "runtime/errors.h"
#include "runtime/files.h"
#include "runtime/memory.h"
#include "runtime/nvtx.h"
#include "strategy/noise.h"

namespace dualparal {
namespace {

// Throws the latents away: for warming up.
struct NullSink final : LatentsSink {
  void push(const at::Tensor&) override {}
};

RankInfo rank_from_environment(const GenerateOptions& options) {
  const char* world = std::getenv("WORLD_SIZE");
  const int64_t world_size = world ? std::atoll(world) : options.nproc;
  return {0, world_size};
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

}  // namespace

nlohmann::ordered_json generate(GenerateOptions options) {
  const c10::InferenceMode inference;
  resolve_generate_options(options);
  if (options.threads > 0) at::set_num_threads(static_cast<int>(options.threads));
  const StrategyEntry& entry = find_strategy(options.strategy);
  const auto strategy = entry.make(options.strategy_options);
  const RankInfo rank = rank_from_environment(options);
  const at::Device device = parse_device(options.device);
  const Placement placement{device, parse_dtype(options.dtype)};
  const Placement vae_placement{device, parse_dtype(options.vae_dtype)};
  const Stopwatch total;

  const WanModel model(options.model, options.random_weights);
  const TransformerParts parts = strategy->parts(model.transformer_config(), rank);
  Request request = make_request(options, model);

  VideoSinkOptions sink_options{*options.frames, request.latent_frames, *options.height, *options.width,
                                *options.fps, !options.no_decode, entry.streams_blocks, options.output,
                                options.save_frames, options.save_latents};
  std::unique_ptr<QualityMeter> quality;
  if (!options.no_quality) quality = std::make_unique<QualityMeter>(QualitySubject{
      .frames = *options.frames, .latent_frames = request.latent_frames,
      .block_starts = strategy->block_starts(request), .prompt = options.prompt.value_or(""),
      .content = model.name() == "moving-shapes"});
  VideoSink sink(sink_options, [&] { return model.load_vae(vae_placement, Vae::Parts::kDecoder); }, quality.get());

  Phase text_phase(device);
  PromptEmbeds embeds = options.prompt_embeds.empty()
                            ? model.encode_prompts(*options.prompt, *options.negative_prompt, placement)
                            : read_prompt_embeds(options, model.transformer_config().text_dim);
  text_phase.stop();
  request.prompt_embeds = embeds.prompt;
  request.negative_prompt_embeds = embeds.negative;
  if (!options.save_prompt_embeds.empty()) {
    std::map<std::string, at::Tensor> tensors{{"prompt_embeds", embeds.prompt.to(at::kFloat)}};
    if (embeds.negative.defined()) tensors["negative_prompt_embeds"] = embeds.negative.to(at::kFloat);
    write_safetensors(options.save_prompt_embeds, tensors);
  }
  if (!options.save_noise.empty())
    write_safetensors(options.save_noise, {{"noise", strategy->initial_noise(request)}});

  Phase load_phase(device);
  const auto transformer = model.load_transformer(placement, parts);
  load_phase.stop();

  if (options.warmup_steps > 0) {
    const NvtxRange range("warm-up");
    Request warmup = request;
    warmup.num_inference_steps = std::min(options.warmup_steps, request.num_inference_steps);
    NullSink null_sink;
    strategy->denoise(warmup, {*transformer, rank}, null_sink);
  }

  Phase denoise_phase(device);
  sink.restart_clock();
  {
    const NvtxRange range("denoise");
    Progress progress(options.strategy, "step", options.quiet);
    strategy->denoise(request, {*transformer, rank, [&](int64_t done, int64_t all) { progress.update(done, all); }},
                      sink);
    denoise_phase.stop();
  }
  sink.finish();

  const int64_t weights_bytes = transformer->weights_bytes();
  auto record = result_header(options, model.name(), request.latent_frames, rank.world_size);
  record["latency_s"] = denoise_phase.seconds;
  record["first_block_s"] = sink.first_latents_s();
  record["text_encode_s"] = text_phase.seconds;
  record["load_s"] = load_phase.seconds;
  using Json = nlohmann::ordered_json;
  record["decode_s"] = options.no_decode ? Json(nullptr) : Json(sink.decode_s());
  record["total_s"] = total.seconds();
  record["per_rank"] = nlohmann::ordered_json::array(
      {{{"compute_s", denoise_phase.seconds},
        {"communication_s", 0.0},
        {"idle_s", 0.0},
        {"sent_bytes", 0},
        {"peak_memory_bytes", denoise_phase.memory.peak_allocated_bytes},
        {"peak_reserved_bytes", denoise_phase.memory.peak_reserved_bytes},
        {"weights_bytes", weights_bytes},
        {"flops", nullptr}}});
  record["peak_memory_bytes"] = denoise_phase.memory.peak_allocated_bytes;
  record["text_peak_memory_bytes"] = text_phase.memory.peak_allocated_bytes;
  record["decode_peak_memory_bytes"] =
      options.no_decode || !device.is_cpu() ? Json(nullptr) : Json(sink.decode_peak_memory_bytes());
  record["peak_resident_bytes"] = peak_resident_bytes();
  record["bubble_ratio"] = 0.0;
  record["quality"] = quality ? nlohmann::ordered_json(quality->result()) : nullptr;
  record["status"] = "ok";
  record["error"] = nullptr;
  record["config"] = to_json(options);
  record["config_hash"] = text_hash(record["config"].dump());
  record["provenance"] = provenance(device);
  return record;
}

void run_generate(const GenerateOptions& options) {
  const auto record = generate(options);
  if (!options.result.empty()) append_line(options.result, record.dump());
  if (options.quiet) return;
  fmt::print("{} frames ({} latent) of {} x {}: denoised in {:.2f} s", record["frames"].get<int64_t>(),
             record["latent_frames"].get<int64_t>(), record["width"].get<int64_t>(),
             record["height"].get<int64_t>(), record["latency_s"].get<double>());
  if (!record["decode_s"].is_null()) fmt::print(", decoded in {:.2f} s", record["decode_s"].get<double>());
  fmt::print(", peak memory {:.1f} MiB\n", record["peak_memory_bytes"].get<double>() / (1 << 20));
  for (const auto& path : {options.output, options.save_latents, options.save_noise, options.save_prompt_embeds})
    if (!path.empty()) fmt::print("wrote {}\n", path);
}

}  // namespace dualparal
