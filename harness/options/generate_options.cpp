// SPDX-License-Identifier: Apache-2.0
#include "harness/options/generate_options.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>

#include "base/data_dir.h"
#include "base/device.h"
#include "comm/nccl_communicator.h"
#include "harness/options/strategies.h"
#include "model/checkpoint/config_reader.h"
#include "model/sampling/sampler.h"
#include "model/wan/config.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

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
  std::optional<std::string> prompt;
  const fs::path file = fs::path(options.model) / "generation_defaults.json";
  if (fs::exists(file)) {
    ConfigReader reader(file);
    frames = reader.optional("frames", frames);
    height = reader.optional("height", height);
    width = reader.optional("width", width);
    fps = reader.optional("fps", fps);
    steps = reader.optional("steps", steps);
    guidance = reader.optional("guidance_scale", guidance);
    if (reader.has("prompt")) prompt = reader.required<std::string>("prompt");
    reader.refuse_unknown();
  }
  if (!options.frames) options.frames = frames;
  if (!options.height) options.height = height;
  if (!options.width) options.width = width;
  if (!options.fps) options.fps = fps;
  if (!options.steps) options.steps = steps;
  if (!options.guidance_scale) options.guidance_scale = guidance;
  if (!options.prompt && options.prompt_embeds.empty()) options.prompt = prompt;
  if (!options.negative_prompt) options.negative_prompt = "";
}

}  // namespace

CLI::Validator positive_number() { return CLI::Range(int64_t{1}, int64_t{1} << 40, "a whole number from 1"); }

void add_generate_options(CLI::App& app, GenerateOptions& o) {
  std::string group = "Model";
  const auto flag = [&](const std::string& name, auto& target, const std::string& help) {
    return app.add_option(name, target, help)->group(group);
  };
  flag("--model", o.model, "checkpoint folder in Hugging Face diffusers layout [the embedded model]");
  app.add_flag("--random-weights", o.random_weights, "random weights: a folder with the config.json files is enough")
      ->group(group);
  flag("--dtype", o.dtype, "fp32, bf16 or fp16: transformer and text encoder")->capture_default_str();
  flag("--vae-dtype", o.vae_dtype, "fp32, bf16 or fp16: VAE")->capture_default_str();
  flag("--device", o.device, "cpu, cuda or cuda:K")->capture_default_str();
  flag("--threads", o.threads, "CPU threads per rank [LibTorch's default]")->check(CLI::NonNegativeNumber);

  group = "Strategy";
  flag("--strategy", o.strategy, "see `dualparal strategies`")->capture_default_str();
  flag("--nproc", o.nproc, "ranks to start on this machine")->capture_default_str()->check(positive_number());
  flag("--backend", o.backend, "how ranks exchange tensors: gloo (TCP, through host memory) or nccl (one GPU per rank)")
      ->capture_default_str();
  flag("--timeout", o.timeout_s, "seconds, the longest a rank waits for another before all end with an error")
      ->capture_default_str()
      ->check(positive_number());
  flag("--mode", o.mode,
       "run; emulate: all ranks one after the other on one device, real compute and memory, no result; "
       "trace: with shapes alone, no weights and no arithmetic")
      ->capture_default_str();
  flag("--world-size", o.world_size, "ranks of an emulated or traced run")
      ->capture_default_str()
      ->check(positive_number());
  for (const auto& [name, help] : all_strategy_options())
    app.add_option_function<std::string>(
           "--" + name, [&o, name = name](const std::string& value) { o.strategy_options[name] = value; }, help)
        ->group(group);

  group = "Video";
  flag("--prompt", o.prompt, "what to show");
  flag("--negative-prompt", o.negative_prompt, "what to avoid [empty]");
  flag("--prompt-embeds", o.prompt_embeds,
       "safetensors with prompt_embeds and negative_prompt_embeds, each [1, tokens, text_dim]");
  flag("--frames", o.frames,
       "video frames, any number from 1; latent frames are made for "
       "ceil((frames - 1) / 4) + 1 and the surplus is cut after decoding [from the model, else 81]");
  flag("--height", o.height, "pixels [from the model, else 480]");
  flag("--width", o.width, "pixels [from the model, else 832]");
  flag("--fps", o.fps, "frames per second of the mp4 [from the model, else 16]");

  group = "Sampling";
  flag("--steps", o.steps, "denoising steps [from the model, else 50]");
  flag("--guidance-scale", o.guidance_scale, "classifier-free guidance; 1 or less: none [from the model, else 5]");
  flag("--flow-shift", o.flow_shift, "shift of the noise levels [from the checkpoint's scheduler]");
  flag("--sampler", o.sampler, "unipc or euler [from the checkpoint's scheduler]");
  flag("--seed", o.seed, "of the initial noise")->capture_default_str();
  flag("--initial-noise", o.initial_noise, "safetensors with noise [1, channels, latent frames, h, w]");

  group = "Output";
  flag("--output", o.output, "the video, an mp4 file");
  flag("--save-frames", o.save_frames, "folder for the frames as PNG files");
  flag("--save-latents", o.save_latents, "safetensors file for the final latents (fp32)");
  flag("--save-noise", o.save_noise, "safetensors file for the initial noise");
  flag("--save-prompt-embeds", o.save_prompt_embeds, "safetensors file for the prompt embeddings");
  flag("--reference-latents", o.reference_latents,
       "latents to compare with, as --save-latents writes them: psnr_db, ssim and latent_relative_error");
  app.add_flag("--no-decode", o.no_decode, "do not decode the latents")->group(group);
  app.add_flag("--no-quality", o.no_quality, "do not compute the quality metrics")->group(group);
  flag("--result", o.result, "file to which the result line (JSON) is appended");
  flag("--timeline", o.timeline, "Chrome trace of all ranks (JSON), for ui.perfetto.dev");
  flag("--traces", o.traces, "folder for what every rank did, to be simulated on a cluster; counts the work of a run");
  flag("--warmup-steps", o.warmup_steps,
       "denoising steps to run and throw away before the clock starts [2 on a GPU, else 0]")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--quiet", o.quiet, "no progress and no summary")->group(group);
}

void resolve_generate_options(GenerateOptions& o) {
  if (o.model.empty()) o.model = (data_dir() / "models" / "moving-shapes").string();
  check_model_index(o.model);
  apply_model_defaults(o);
  const auto scheduler = read_scheduler_config(fs::path(o.model) / "scheduler" / "scheduler_config.json");
  if (!o.flow_shift) o.flow_shift = scheduler.flow_shift;
  if (o.sampler.empty()) o.sampler = sampler_name(sampler_of(scheduler));
  parse_sampler(o.sampler);
  check_backend(o.backend, o.device);
  check_usage(o.mode == "run" || o.mode == "emulate" || o.mode == "trace",
              "--mode: expected run, emulate or trace, got '{}'", o.mode);
  check_usage(o.mode != "run" || o.world_size == 1, "--world-size: a run has --nproc ranks, or a launcher's");
  if (o.mode != "run") {
    for (const auto& [name, value] : {std::pair("--output", o.output),
                                      {"--save-frames", o.save_frames},
                                      {"--save-latents", o.save_latents},
                                      {"--save-noise", o.save_noise},
                                      {"--save-prompt-embeds", o.save_prompt_embeds},
                                      {"--timeline", o.timeline},
                                      {"--reference-latents", o.reference_latents}})
      check_usage(value.empty(), "{}: --mode {} has no video, latents or common clock to write", name, o.mode);
  }
  // A GPU's first steps load kernels and fill the allocator's pools. Two: blocks have their neighbours by then.
  const bool on_gpu = named_device(o.device).is_cuda() && o.mode != "trace";
  if (!o.warmup_steps) o.warmup_steps = on_gpu ? 2 : 0;
  check_usage(*o.frames > 0, "--frames: expected a positive number, got {}", *o.frames);
  check_usage(*o.steps > 0, "--steps: expected a positive number, got {}", *o.steps);
  check_usage(*o.fps > 0, "--fps: expected a positive number, got {}", *o.fps);
  const auto vae = read_vae_config(fs::path(o.model) / "vae" / "config.json");
  const auto transformer = read_transformer_config(fs::path(o.model) / "transformer" / "config.json");
  const int64_t rows = vae.spatial_stride() * transformer.patch_size[1];
  const int64_t columns = vae.spatial_stride() * transformer.patch_size[2];
  check_usage(*o.height > 0 && *o.height % rows == 0, "--height: expected a positive multiple of {}, got {}", rows,
              *o.height);
  check_usage(*o.width > 0 && *o.width % columns == 0, "--width: expected a positive multiple of {}, got {}", columns,
              *o.width);
  check_usage(!(o.prompt && !o.prompt_embeds.empty()), "--prompt and --prompt-embeds: give one of them");
  check_usage(o.prompt || !o.prompt_embeds.empty(), "--prompt (or --prompt-embeds) is missing");
  check_usage(!(o.no_decode && (!o.output.empty() || !o.save_frames.empty())),
              "--no-decode leaves nothing to write to {}", o.output.empty() ? "--save-frames" : "--output");
  check_usage(!o.no_quality || o.reference_latents.empty(),
              "--reference-latents {} gives quality metrics, which --no-quality leaves out", o.reference_latents);
  check_usage(o.output.empty() || fs::path(o.output).extension() == ".mp4", "--output: expected a .mp4 file, got '{}'",
              o.output);
  o.strategy_options = resolve_options(o.strategy, find_strategy(o.strategy).options, o.strategy_options);
}

nlohmann::ordered_json to_json(const GenerateOptions& o) {
  // The project's own models by their place in it: the same on every machine.
  const auto inside = fs::path(o.model).lexically_proximate(data_dir());
  return {{"model", *inside.begin() == ".." ? o.model : inside.string()},
          {"random_weights", o.random_weights},
          {"strategy", o.strategy},
          {"strategy_options", o.strategy_options},
          {"nproc", o.nproc},
          {"mode", o.mode},
          {"world_size", o.mode == "run" ? o.nproc : o.world_size},
          {"device", o.device},
          {"backend", o.backend},
          {"dtype", o.dtype},
          {"vae_dtype", o.vae_dtype},
          {"threads", o.threads},
          {"prompt", o.prompt ? nlohmann::ordered_json(*o.prompt) : nullptr},
          {"negative_prompt", *o.negative_prompt},
          {"prompt_embeds", o.prompt_embeds},
          {"frames", *o.frames},
          {"height", *o.height},
          {"width", *o.width},
          {"fps", *o.fps},
          {"steps", *o.steps},
          {"guidance_scale", *o.guidance_scale},
          {"flow_shift", *o.flow_shift},
          {"sampler", o.sampler},
          {"seed", o.seed},
          {"initial_noise", o.initial_noise},
          {"no_decode", o.no_decode},
          {"warmup_steps", *o.warmup_steps}};
}

}  // namespace dualparal
