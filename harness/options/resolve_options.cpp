// SPDX-License-Identifier: Apache-2.0
#include "harness/options/resolve_options.h"

#include <cmath>
#include <filesystem>

#include "base/data_dir.h"
#include "base/device.h"
#include "base/errors.h"
#include "comm/nccl_communicator.h"
#include "harness/options/arrangement.h"
#include "harness/options/endless_options.h"
#include "harness/options/output_options.h"
#include "harness/options/prompt_list.h"
#include "harness/options/strategies.h"
#include "harness/options/timed_prompts.h"
#include "harness/options/trace_options.h"
#include "model/checkpoint/config_reader.h"
#include "model/ops/kernels.h"
#include "model/sampling/sampler.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kMostFrames = 1'000'000, kMostFps = 1000, kMostPixels = 1 << 14;

// What the folder of a model says about how to use it. No file: Wan 2.1's values for 480p.
void apply_model_defaults(GenerateOptions& options) {
  int64_t frames = 81, height = 480, width = 832, fps = 16, steps = 50;
  double guidance = 5.0;
  std::optional<double> guidance_2;
  std::optional<std::string> prompt;
  const fs::path file = fs::path(options.model.dir) / "generation_defaults.json";
  if (fs::exists(file)) {
    ConfigReader reader(file);
    frames = reader.optional("frames", frames);
    height = reader.optional("height", height);
    width = reader.optional("width", width);
    fps = reader.optional("fps", fps);
    steps = reader.optional("steps", steps);
    guidance = reader.optional("guidance_scale", guidance);
    if (reader.has("guidance_scale_2")) guidance_2 = reader.required<double>("guidance_scale_2");
    if (reader.has("prompt")) prompt = reader.required<std::string>("prompt");
    reader.refuse_unknown();
  }
  options.video.frames = options.video.frames.value_or(options.video.model_frames = frames);
  if (!options.video.height) options.video.height = height;
  if (!options.video.width) options.video.width = width;
  if (!options.video.fps) options.video.fps = fps;
  if (!options.sampling.steps) options.sampling.steps = steps;
  // A scale that is given counts for both experts.
  if (!options.sampling.guidance_scale_2 && !options.sampling.guidance_scale)
    options.sampling.guidance_scale_2 = guidance_2;
  if (!options.sampling.guidance_scale) options.sampling.guidance_scale = guidance;
  if (!options.video.prompt && options.video.prompt_embeds.empty()) options.video.prompt = prompt;
  if (!options.video.negative_prompt) options.video.negative_prompt = "";
}

void resolve_run(RunOptions& o, const ModelOptions& model, bool guided) {
  check_kernels(model.kernels);
  check_backend(o.backend, model.device);
  check_usage(o.mode != Mode::kRun || o.world_size == 1, "--world-size: a run has --nproc ranks, or a launcher's");
  check_usage(o.mode == Mode::kRun || (o.repeats == 1 && o.until_interval == 0),
              "--repeats, --until-interval: --mode {} times no run", mode_name(o.mode));
  check_usage(o.max_repeats >= o.repeats, "--max-repeats {}: less than --repeats {}", o.max_repeats, o.repeats);
  // A GPU's first steps load kernels and fill the allocator's pools. Two: blocks have their neighbours by then.
  const bool on_gpu = named_device(model.device).is_cuda() && o.mode != Mode::kTrace;
  if (!o.warmup_steps) o.warmup_steps = on_gpu ? 2 : 0;
  resolve_arrangement(o);
  o.strategy_options = resolve_options(o.strategy, find_strategy(o.strategy).options, o.strategy_options);
  resolve_ranks(o, guided);
  check_trace_options(o);
}

void check_video(const VideoOptions& o, const WanModel& model) {
  check_usage(*o.frames > 0, "--frames: expected a positive number, got {}", *o.frames);
  check_usage(*o.frames <= kMostFrames || *o.frames == kEndlessFrames,
              "--frames: expected at most {} (17 hours at 16 a second), got {}", kMostFrames, *o.frames);
  check_usage(*o.fps > 0, "--fps: expected a positive number, got {}", *o.fps);
  check_usage(*o.fps <= kMostFps, "--fps: expected at most {}, got {}", kMostFps, *o.fps);
  for (const auto& [flag, pixels] : {std::pair("--height", *o.height), {"--width", *o.width}})
    check_usage(pixels <= kMostPixels, "{}: expected at most {} pixels, got {}", flag, kMostPixels, pixels);
  const auto& patch = model.transformer_config().patch_size;
  const int64_t rows = model.geometry().spatial_stride * patch[1];
  const int64_t columns = model.geometry().spatial_stride * patch[2];
  check_usage(*o.height > 0 && *o.height % rows == 0, "--height: expected a positive multiple of {}, got {}", rows,
              *o.height);
  check_usage(*o.width > 0 && *o.width % columns == 0, "--width: expected a positive multiple of {}, got {}", columns,
              *o.width);
  check_usage(!(o.prompt && !o.prompt_embeds.empty()), "--prompt and --prompt-embeds: give one of them");
  check_usage(o.prompt || !o.prompt_embeds.empty(), "--prompt (or --prompt-embeds) is missing");
}

void resolve_sampling(SamplingOptions& o, const WanModel& model) {
  const SchedulerConfig& scheduler = model.scheduler_config();
  if (!o.flow_shift) o.flow_shift = scheduler.flow_shift;
  check_usage(std::isfinite(*o.flow_shift) && *o.flow_shift > 0, "--flow-shift: expected a positive number, got {}",
              *o.flow_shift);
  check_usage(std::isfinite(*o.guidance_scale), "--guidance-scale: expected a finite number, got {}",
              *o.guidance_scale);
  check_usage(std::isfinite(o.guidance_scale_2.value_or(0)), "--guidance-scale-2: expected a finite number, got {}",
              o.guidance_scale_2.value_or(0));
  if (o.sampler.empty()) o.sampler = sampler_name(sampler_of(scheduler));
  parse_sampler(o.sampler);
  check_usage(model.experts() == 2 || !o.guidance_scale_2,
              "--guidance-scale-2: {} has one transformer, not two experts", model.dir().string());
  check_usage(!o.guidance_scale_2 || *o.guidance_scale > 1 || *o.guidance_scale_2 <= 1,
              "--guidance-scale-2 {}: guidance of the second expert alone is not supported; --guidance-scale is {}",
              o.guidance_scale_2.value_or(0), *o.guidance_scale);
  check_usage(*o.steps > 0, "--steps: expected a positive number, got {}", *o.steps);
}

// Every text that was given goes into the result line, once all is done.
void check_texts(const GenerateOptions& o) {
  const auto given = to_json(o);
  for (const auto& [name, value] : given.items()) {
    std::string flag = name, reason;
    std::ranges::replace(flag, '_', '-');
    try {
      value.dump();
    } catch (const nlohmann::json::type_error& error) {
      reason = error.what();
    }
    check_usage(reason.empty(), "--{}: expected text in UTF-8, which result lines are: {}", flag, reason);
  }
}

}  // namespace

WanModel resolve_generate_options(GenerateOptions& o) {
  resolve_prompt_list(o);
  resolve_timed_prompts(o);
  if (o.model.dir.empty()) o.model.dir = embedded_model().string();
  o.model.dir = project_path(o.model.dir).string();
  std::vector<LoraSpec> loras;
  for (const auto& text : o.model.loras) loras.push_back(parse_lora(text));
  WanModel model(o.model.dir, o.model.random_weights, std::move(loras));
  apply_model_defaults(o);
  resolve_sampling(o.sampling, model);
  resolve_run(o.run, o.model, *o.sampling.guidance_scale > 1);
  check_video(o.video, model);
  check_timed_prompts(o, model.geometry());
  resolve_attention(o.attention, {.strategy = o.run.strategy,
                                  .latent_frames = model.geometry().latent_frames(*o.video.frames),
                                  .trained_frames = model.geometry().latent_frames(o.video.model_frames),
                                  .head_dim = model.transformer_config().attention_head_dim});
  resolve_endless(o, model);
  resolve_output(o);
  resolve_snapshots(o);
  check_texts(o);
  return model;
}

bool shows_image(const GenerateOptions& o, const WanModel& model) {
  return model.from_image() || !o.video.image.empty() || !o.video.image_embeds.empty();
}

void check_image_options(const GenerateOptions& o, const WanModel& model) {
  const bool images = !o.video.image.empty() || !o.video.last_image.empty();
  check_usage(model.from_image() || model.takes_first_frame() || (!images && o.video.image_embeds.empty()),
              "{}: {} makes videos from text alone",
              images ? (o.video.image.empty() ? "--last-image" : "--image") : "--image-embeds", o.model.dir);
  check_usage(!images || o.video.image_embeds.empty(), "--image and --image-embeds: give one of them");
  check_usage(o.video.image_embeds.empty() || o.output.save_image_embeds.empty(),
              "--save-image-embeds: --image-embeds {} is such a file", o.video.image_embeds);
  check_usage(!model.takes_first_frame() || o.video.last_image.empty(), "--last-image: {} takes a first image only",
              o.model.dir);
  if (!model.from_image() || o.run.mode != Mode::kRun) return;
  check_usage(!o.video.image.empty() || !o.video.image_embeds.empty(),
              "--image (or --image-embeds) is missing: {} makes videos from an image", o.model.dir);
  const LatentGeometry geometry = model.geometry();
  check_usage(o.video.last_image.empty() || geometry.frames(geometry.latent_frames(*o.video.frames)) == *o.video.frames,
              "--last-image: the last frame would be cut off: --frames expected 1 + a multiple of {}, got {}",
              geometry.temporal_stride, *o.video.frames);
}

}  // namespace dualparal
