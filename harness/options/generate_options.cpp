// SPDX-License-Identifier: Apache-2.0
#include "harness/options/generate_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>

#include "base/data_dir.h"
#include "base/device.h"
#include "comm/nccl_communicator.h"
#include "harness/options/open_model.h"
#include "harness/options/output_options.h"
#include "harness/options/strategies.h"
#include "model/checkpoint/config_reader.h"
#include "model/ops/kernels.h"
#include "model/sampling/sampler.h"
#include "model/wan/config.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kMostFrames = 1'000'000, kMostFps = 1000, kMostPixels = 1 << 14;
constexpr int64_t kMostRepeats = 10'000;
constexpr int64_t kMostRanks = 4096, kMostThreads = 1024;
constexpr int64_t kLongestTimeout = 365 * 24 * 3600;  // in nanoseconds it must still be a number

// Options of several strategies can share a name: each is one flag, whose help says what it is to each of them.
std::map<std::string, std::string> all_strategy_options() {
  std::map<std::string, std::map<std::string, std::vector<std::string>>> strategies_by_help;  // by flag
  for (const auto& entry : strategies())
    for (const auto& spec : entry.options)
      strategies_by_help[spec.name][fmt::format("{} [{}]", spec.help, spec.default_value)].push_back(entry.name);
  std::map<std::string, std::string> flags;
  for (const auto& [name, helps] : strategies_by_help) {
    std::vector<std::string> texts;
    for (const auto& [help, names] : helps) texts.push_back(fmt::format("{}: {}", fmt::join(names, ", "), help));
    flags[name] = fmt::format("{}", fmt::join(texts, "; "));
  }
  return flags;
}

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

constexpr std::array<const char*, 3> kModeNames = {"run", "emulate", "trace"};

Mode parse_mode(const std::string& name) {
  const auto found = std::ranges::find(kModeNames, name);
  check_usage(found != kModeNames.end(), "--mode: expected run, emulate or trace, got '{}'", name);
  return static_cast<Mode>(found - kModeNames.begin());
}

}  // namespace

std::string mode_name(Mode mode) { return kModeNames.at(static_cast<size_t>(mode)); }

CLI::Validator positive_number(int64_t most) {
  return CLI::Range(int64_t{1}, most, fmt::format("a whole number from 1 to {}", most));
}

namespace {

// An unsigned number is read from "-1", too, as a very large one.
CLI::Validator not_negative_text() {
  return CLI::Validator(
      [](const std::string& text) {
        return text.starts_with('-') ? fmt::format("expected a whole number from 0, got {}", text) : "";
      },
      "");
}

// Declares flags of one group of the help.
struct FlagGroup {
  CLI::App& app;
  std::string group;

  template <class T>
  CLI::Option* option(const std::string& name, T& target, const std::string& help) const {
    return app.add_option(name, target, help)->group(group);
  }
  void flag(const std::string& name, bool& target, const std::string& help) const {
    app.add_flag(name, target, help)->group(group);
  }
};

void add_flags(const FlagGroup& in, ModelOptions& o) {
  in.option("--model", o.dir, "checkpoint folder in Hugging Face diffusers layout [the embedded model]");
  in.flag("--random-weights", o.random_weights, "random weights: a folder with the config.json files is enough");
  in.option(
        "--lora", o.loras,
        "[high=|low=]FILE[:scale], repeatable: LoRA (safetensors) merged into the transformer's weights; high, low: "
        "into one of two experts")
      ->allow_extra_args(false);
  in.option("--dtype", o.dtype, "fp32, bf16 or fp16: transformer and text encoder")->capture_default_str();
  in.option("--vae-dtype", o.vae_dtype, "fp32, bf16 or fp16: VAE")->capture_default_str();
  in.option("--device", o.device, "cpu, cuda or cuda:K")->capture_default_str();
  in.option("--kernels", o.kernels,
            "what CUDA devices do between products and attention: own kernels, aten's (LibTorch's own operations), or "
            "auto: "
            "own where their module is beside the program")
      ->capture_default_str();
  in.option("--threads", o.threads, "CPU threads per rank [LibTorch's default]")
      ->check(CLI::Range(int64_t{0}, kMostThreads));
}

void add_flags(const FlagGroup& in, RunOptions& o) {
  in.option("--strategy", o.strategy, "see `dualparal strategies`")->capture_default_str();
  in.option("--nproc", o.nproc, "ranks to start on this machine")
      ->capture_default_str()
      ->check(positive_number(kMostRanks));
  in.option("--backend", o.backend,
            "how ranks exchange tensors: gloo (TCP, through host memory) or nccl (one GPU per rank)")
      ->capture_default_str();
  in.option("--timeout", o.timeout_s, "seconds, the longest a rank waits for another before all end with an error")
      ->capture_default_str()
      ->check(positive_number(kLongestTimeout));
  in.app
      .add_option_function<std::string>(
          "--mode", [&o](const std::string& name) { o.mode = parse_mode(name); },
          "run; emulate: all ranks one after the other on one device, real compute and memory, no result; "
          "trace: with shapes alone, no weights and no arithmetic [run]")
      ->group(in.group);
  in.option("--world-size", o.world_size, "ranks of an emulated or traced run")
      ->capture_default_str()
      ->check(positive_number(kMostRanks));
  in.option("--warmup-steps", o.warmup_steps,
            "denoising steps to run and throw away before the clock starts [2 on a GPU, else 0]")
      ->check(CLI::NonNegativeNumber);
  in.option("--repeats", o.repeats,
            "times to denoise, one after the other; the latency is their median, the video the first")
      ->capture_default_str()
      ->check(positive_number(kMostRepeats));
  in.option("--until-interval", o.until_interval,
            "repeat until half the 95 % confidence interval of the latency is at most this part of its mean, for "
            "instance 0.02; 0: do not")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  in.option("--max-repeats", o.max_repeats, "most repeats of --until-interval")
      ->capture_default_str()
      ->check(positive_number(kMostRepeats));
  in.flag("--quiet", o.quiet, "no progress and no summary");
  for (const auto& [name, help] : all_strategy_options())
    in.app
        .add_option_function<std::string>(
            "--" + name, [&o, name = name](const std::string& value) { o.strategy_options[name] = value; }, help)
        ->group(in.group);
}

void add_flags(const FlagGroup& in, VideoOptions& o) {
  in.option("--prompt", o.prompt, "what to show");
  in.option("--negative-prompt", o.negative_prompt, "what to avoid [empty]");
  in.option("--prompt-embeds", o.prompt_embeds,
            "safetensors with prompt_embeds and negative_prompt_embeds, each [1, tokens, text_dim]");
  in.option("--image", o.image, "PNG or JPEG file, the video's first frame (models that make videos from an image)");
  in.option("--last-image", o.last_image, "PNG or JPEG file, the video's last frame");
  in.option("--image-embeds", o.image_embeds,
            "instead of the images: safetensors with condition [1, mask and latent channels, latent frames, h, w] and, "
            "where the model has an image encoder, image_embeds [1, tokens, image_dim]");
  in.option("--frames", o.frames,
            "video frames, any number from 1; as many latent frames are made as hold them (Wan 2.1: "
            "ceil((frames - 1) / 4) + 1) and the surplus is cut after decoding [from the model, else 81]");
  in.option("--height", o.height, "pixels [from the model, else 480]");
  in.option("--width", o.width, "pixels [from the model, else 832]");
  in.option("--fps", o.fps, "frames per second of the mp4 [from the model, else 16]");
}

void add_flags(const FlagGroup& in, SamplingOptions& o) {
  in.option("--steps", o.steps, "denoising steps [from the model, else 50]");
  in.option("--guidance-scale", o.guidance_scale, "classifier-free guidance; 1 or less: none [from the model, else 5]");
  in.option("--guidance-scale-2", o.guidance_scale_2,
            "of the second of two experts, at low noise [from the model, else --guidance-scale]");
  in.option("--flow-shift", o.flow_shift, "shift of the noise levels [from the checkpoint's scheduler]");
  in.option("--sampler", o.sampler, "unipc or euler [from the checkpoint's scheduler]");
  in.option("--seed", o.seed, "of the initial noise, a whole number from 0")
      ->capture_default_str()
      ->check(not_negative_text());
  in.option("--initial-noise", o.initial_noise, "safetensors with noise [1, channels, latent frames, h, w]");
}

void add_flags(const FlagGroup& in, OutputOptions& o) {
  in.option("--output", o.video,
            "the video, an mp4 file [of a run that would write nothing at all: STRATEGY_FRAMES-frames_seed-SEED.mp4]");
  in.option("--save-frames", o.save_frames, "folder for the frames as PNG files");
  in.option("--save-latents", o.save_latents, "safetensors file for the final latents (fp32)");
  in.option("--save-noise", o.save_noise, "safetensors file for the initial noise");
  in.option("--save-prompt-embeds", o.save_prompt_embeds, "safetensors file for the prompt embeddings");
  in.option("--save-image-embeds", o.save_image_embeds, "safetensors file for what --image-embeds reads");
  in.option("--reference-latents", o.reference_latents,
            "latents to compare with, as --save-latents writes them: psnr_db, ssim and latent_relative_error");
  in.flag("--no-decode", o.no_decode, "do not decode the latents");
  in.flag(
      "--overlap-decoding", o.overlap_decoding,
      "decode blocks while later ones are being denoised: the video is done sooner, but latency and memory are then "
      "those of both");
  in.flag("--no-quality", o.no_quality, "do not compute the quality metrics");
  in.option("--result", o.result, "file to which the result line (JSON) is appended");
  in.option("--timeline", o.timeline, "Chrome trace of all ranks (JSON), for ui.perfetto.dev");
  in.option("--traces", o.traces,
            "folder for what every rank did, to be simulated on a cluster; counts the work of a run");
}

void resolve_run(RunOptions& o, const ModelOptions& model) {
  check_kernels(model.kernels);
  check_backend(o.backend, model.device);
  check_usage(o.mode != Mode::kRun || o.world_size == 1, "--world-size: a run has --nproc ranks, or a launcher's");
  check_usage(o.mode == Mode::kRun || (o.repeats == 1 && o.until_interval == 0),
              "--repeats, --until-interval: --mode {} times no run", mode_name(o.mode));
  check_usage(o.max_repeats >= o.repeats, "--max-repeats {}: less than --repeats {}", o.max_repeats, o.repeats);
  // A GPU's first steps load kernels and fill the allocator's pools. Two: blocks have their neighbours by then.
  const bool on_gpu = named_device(model.device).is_cuda() && o.mode != Mode::kTrace;
  if (!o.warmup_steps) o.warmup_steps = on_gpu ? 2 : 0;
  o.strategy_options = resolve_options(o.strategy, find_strategy(o.strategy).options, o.strategy_options);
}

void check_video(const VideoOptions& o, const ModelOptions& model) {
  check_usage(*o.frames > 0, "--frames: expected a positive number, got {}", *o.frames);
  check_usage(*o.frames <= kMostFrames, "--frames: expected at most {} (17 hours at 16 a second), got {}", kMostFrames,
              *o.frames);
  check_usage(*o.fps > 0, "--fps: expected a positive number, got {}", *o.fps);
  check_usage(*o.fps <= kMostFps, "--fps: expected at most {}, got {}", kMostFps, *o.fps);
  for (const auto& [flag, pixels] : {std::pair("--height", *o.height), {"--width", *o.width}})
    check_usage(pixels <= kMostPixels, "{}: expected at most {} pixels, got {}", flag, kMostPixels, pixels);
  const auto vae = read_vae_config(fs::path(model.dir) / "vae" / "config.json");
  const auto transformer = read_transformer_config(fs::path(model.dir) / "transformer" / "config.json");
  const int64_t rows = vae.spatial_stride() * transformer.patch_size[1];
  const int64_t columns = vae.spatial_stride() * transformer.patch_size[2];
  check_usage(*o.height > 0 && *o.height % rows == 0, "--height: expected a positive multiple of {}, got {}", rows,
              *o.height);
  check_usage(*o.width > 0 && *o.width % columns == 0, "--width: expected a positive multiple of {}, got {}", columns,
              *o.width);
  check_usage(!(o.prompt && !o.prompt_embeds.empty()), "--prompt and --prompt-embeds: give one of them");
  check_usage(o.prompt || !o.prompt_embeds.empty(), "--prompt (or --prompt-embeds) is missing");
}

void resolve_sampling(SamplingOptions& o, const ModelOptions& model) {
  const auto scheduler = read_scheduler_config(fs::path(model.dir) / "scheduler" / "scheduler_config.json");
  if (!o.flow_shift) o.flow_shift = scheduler.flow_shift;
  check_usage(std::isfinite(*o.flow_shift) && *o.flow_shift > 0, "--flow-shift: expected a positive number, got {}",
              *o.flow_shift);
  check_usage(std::isfinite(*o.guidance_scale), "--guidance-scale: expected a finite number, got {}",
              *o.guidance_scale);
  if (o.sampler.empty()) o.sampler = sampler_name(sampler_of(scheduler));
  parse_sampler(o.sampler);
  const bool experts = check_model_index(model.dir).boundary_ratio > 0;
  check_usage(experts || !o.guidance_scale_2, "--guidance-scale-2: {} has one transformer, not two experts", model.dir);
  check_usage(!o.guidance_scale_2 || *o.guidance_scale > 1 || *o.guidance_scale_2 <= 1,
              "--guidance-scale-2 {}: guidance of the second expert alone is not supported; --guidance-scale is {}",
              o.guidance_scale_2.value_or(0), *o.guidance_scale);
  check_usage(*o.steps > 0, "--steps: expected a positive number, got {}", *o.steps);
}

}  // namespace

void add_generate_options(CLI::App& app, GenerateOptions& o) {
  add_flags({app, "Model"}, o.model);
  add_flags({app, "Strategy"}, o.run);
  add_attention_flags(app, "Strategy", o.attention);
  add_flags({app, "Video"}, o.video);
  add_flags({app, "Sampling"}, o.sampling);
  add_flags({app, "Output"}, o.output);
}

void resolve_generate_options(GenerateOptions& o) {
  if (o.model.dir.empty()) o.model.dir = (data_dir() / "models" / "moving-shapes").string();
  o.model.dir = project_path(o.model.dir).string();
  check_model_index(o.model.dir);
  apply_model_defaults(o);
  resolve_sampling(o.sampling, o.model);
  resolve_run(o.run, o.model);
  check_video(o.video, o.model);
  resolve_attention(o.attention, attention_setting(o.model.dir, o.run.strategy, *o.video.frames, o.video.model_frames));
  resolve_output(o);
}

nlohmann::ordered_json to_json(const GenerateOptions& o) {
  // The project's own models by their place in it: the same on every machine.
  const auto inside = fs::path(o.model.dir).lexically_proximate(data_dir());
  return {{"model", *inside.begin() == ".." ? o.model.dir : inside.string()},
          {"random_weights", o.model.random_weights},
          {"lora", loras_json(o.model)},
          {"strategy", o.run.strategy},
          {"strategy_options", o.run.strategy_options},
          {"attention", to_json(o.attention)},
          {"nproc", o.run.nproc},
          {"mode", mode_name(o.run.mode)},
          {"world_size", o.run.mode == Mode::kRun ? o.run.nproc : o.run.world_size},
          {"device", o.model.device},
          {"kernels", o.model.kernels},
          {"backend", o.run.backend},
          {"dtype", o.model.dtype},
          {"vae_dtype", o.model.vae_dtype},
          {"threads", o.model.threads},
          {"prompt", o.video.prompt ? nlohmann::ordered_json(*o.video.prompt) : nullptr},
          {"negative_prompt", *o.video.negative_prompt},
          {"prompt_embeds", o.video.prompt_embeds},
          {"image", o.video.image},
          {"last_image", o.video.last_image},
          {"image_embeds", o.video.image_embeds},
          {"frames", *o.video.frames},
          {"height", *o.video.height},
          {"width", *o.video.width},
          {"fps", *o.video.fps},
          {"steps", *o.sampling.steps},
          {"guidance_scale", *o.sampling.guidance_scale},
          {"guidance_scale_2",
           o.sampling.guidance_scale_2 ? nlohmann::ordered_json(*o.sampling.guidance_scale_2) : nullptr},
          {"flow_shift", *o.sampling.flow_shift},
          {"sampler", o.sampling.sampler},
          {"seed", o.sampling.seed},
          {"initial_noise", o.sampling.initial_noise},
          {"no_decode", o.output.no_decode},
          {"overlap_decoding", o.output.overlap_decoding},
          {"repeats", o.run.repeats},
          {"until_interval", o.run.until_interval},
          {"max_repeats", o.run.max_repeats},
          {"warmup_steps", *o.run.warmup_steps}};
}

}  // namespace dualparal
