// SPDX-License-Identifier: Apache-2.0
#include "harness/options/generate_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <filesystem>
#include <map>

#include "base/data_dir.h"
#include "harness/options/arrangement.h"
#include "harness/options/endless_options.h"
#include "harness/options/replicas.h"
#include "harness/options/strategies.h"
#include "harness/options/trace_options.h"
#include "model/wan/lora.h"

namespace dualparal {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kMostRepeats = 10'000;
constexpr int64_t kMostThreads = 1024;
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
            "auto: own where their module is beside the program")
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
  in.option(
        "--receive-ahead", o.receive_ahead,
        "0, 1 or 2: messages that a stage of dualparal's pipeline may be receiving while it computes; with NCCL each "
        "takes up to 4 of the GPU's multiprocessors while it waits (docs/gpu.md)")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{2}));
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
  in.option("--scenario", o.scenario,
            "with --prompt-list: one result line for all videos, with videos/s and percentiles; single-stream: a video "
            "begins when the one before is finished; offline: as soon as the strategy can take it (dualparal: behind "
            "the last block of the one before) [a line a video, one after the other]");
  add_arrangement_flags(in.app, in.group, o);
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
  in.option(
      "--prompt-list", o.prompt_list,
      "file with a prompt a line: a video and a result line each, the model loaded once; their numbers go into the "
      "names of files (out-1.mp4)");
  in.option(
      "--prompts", o.prompts,
      "file with several prompts of one video, `frame: prompt` lines: a block, clip or window takes that of its first "
      "own frame; the mp4 has them as chapters (strategies with blocks, clips or windows)");
  in.option("--prompt-embeds", o.prompt_embeds,
            "safetensors with prompt_embeds and negative_prompt_embeds, each [1, tokens, text_dim]");
  in.option("--image", o.image, "PNG or JPEG file, the video's first frame (models that make videos from an image)");
  in.option("--last-image", o.last_image, "PNG or JPEG file, the video's last frame");
  in.option("--image-embeds", o.image_embeds,
            "instead of the images: safetensors with condition [1, mask and latent channels, latent frames, h, w] and, "
            "where the model has an image encoder, image_embeds [1, tokens, image_dim]; TI2V-5B: condition [1, "
            "channels, 1, h, w]");
  in.option("--frames", o.frames,
            "video frames, any number from 1; as many latent frames are made as hold them (Wan 2.1: "
            "ceil((frames - 1) / 4) + 1) and the surplus is cut after decoding; or endless: until Ctrl-C or SIGTERM "
            "(dualparal, fifo) [from the model, else 81]")
      ->transform(endless_or_number());
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

}  // namespace

void add_generate_options(CLI::App& app, GenerateOptions& o) {
  add_flags({app, "Model"}, o.model);
  add_flags({app, "Strategy"}, o.run);
  add_attention_flags(app, "Strategy", o.attention);
  add_trace_flags(app, "Strategy", o.run);
  add_replicas_flag(app, "Strategy", o.run);
  add_flags({app, "Video"}, o.video);
  add_flags({app, "Sampling"}, o.sampling);
  add_flags({app, "Output"}, o.output);
  add_snapshot_flags(app, "Snapshots", o.snapshots);
}

namespace {

nlohmann::ordered_json loras_json(const ModelOptions& model) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& text : model.loras) {
    const LoraSpec lora = parse_lora(text);
    list.push_back({{"file", lora.file.string()}, {"scale", lora.scale}, {"expert", lora.expert}});
  }
  return list;
}

nlohmann::ordered_json values_json(const GenerateOptions& o) {
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
          {"frames", is_endless(o) ? nlohmann::ordered_json("endless") : nlohmann::ordered_json(*o.video.frames)},
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
          {"receive_ahead", o.run.receive_ahead},
          {"repeats", o.run.repeats},
          {"until_interval", o.run.until_interval},
          {"max_repeats", o.run.max_repeats},
          {"warmup_steps", *o.run.warmup_steps}};
}

}  // namespace

nlohmann::ordered_json to_json(const GenerateOptions& o) {
  auto json = values_json(o);
  if (!o.run.scenario.empty()) json["scenario"] = o.run.scenario;
  if (!o.run.scenario.empty()) json["prompt_list"] = o.video.listed_prompts;
  if (o.run.stages_as_one) json["stages_as_one"] = true;
  if (o.run.replicas > 1) json["replicas"] = o.run.replicas;
  for (const TimedPrompt& one : o.video.timed_prompts) json["prompts"].push_back({one.frame, one.text});
  return json;
}

}  // namespace dualparal
