// SPDX-License-Identifier: Apache-2.0
// Runs one part of the model on a file of inputs, for the comparison with diffusers and transformers in parity/:
//   parity_probe PART MODEL_DIR INPUTS.safetensors OUTPUTS.safetensors [--dtype fp32|bf16] [--device cpu|cuda]
//
// PART         tensors of INPUTS (metadata)                                   tensors of OUTPUTS
// transformer  hidden_states, timestep [groups], encoder_hidden_states         sample
//              (loras: JSON list, each as --lora takes it)
//              (encoder_hidden_states_image)
// images       first [height, width, 3] uint8, size [2] (the video's)          pixels, video_pixels, embeds
// vae_encode   video                                                          latents (normalised mean)
// vae_decode   latents (normalised)                                           video
// text         (prompts: JSON list)                                           ids.N, embeds.N
// tokenize     (prompts: JSON list)                                           ids.N; metadata cleaned: JSON list
// sampler      sample, predictions [steps, ...] (kind)                        samples [steps, ...], sigmas, timesteps
//
// The sampler's other settings come from MODEL_DIR/scheduler/scheduler_config.json.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/device.h"
#include "base/errors.h"
#include "base/json.h"
#include "model/checkpoint/safetensors.h"
#include "model/sampling/sampler.h"
#include "model/tokenizer/prompt_cleaning.h"
#include "model/wan/wan_model.h"
#include "strategy/denoise/local_attention.h"

namespace dualparal {
namespace {

using Tensors = std::map<std::string, at::Tensor>;
using Metadata = std::map<std::string, std::string>;

struct Probe {
  std::filesystem::path model_dir;
  std::shared_ptr<SafetensorsFile> inputs;
  Placement placement;
  Tensors outputs;
  Metadata metadata;

  at::Tensor input(const std::string& name) const { return inputs->tensor(name); }
  std::vector<std::string> prompts() const {
    return nlohmann::json::parse(inputs->metadata().at("prompts")).get<std::vector<std::string>>();
  }

  void transformer() {
    const auto config = read_transformer_config(model_dir / "transformer" / "config.json");
    std::vector<LoraSpec> loras;
    if (const auto given = inputs->metadata().find("loras"); given != inputs->metadata().end())
      for (const auto& text : nlohmann::json::parse(given->second)) loras.push_back(parse_lora(text));
    const auto weights = with_loras(checkpoint_weights(Checkpoint(model_dir / "transformer"), placement), loras);
    const Transformer model(config, *weights, {{0, config.num_layers}, true, true});
    const at::Tensor latents = input("hidden_states");
    const TokenGrid grid = model.grid(latents.sizes());
    LocalAttention attention;
    at::Tensor hidden = model.embed(latents);
    at::Tensor image;
    if (inputs->contains("encoder_hidden_states_image")) image = input("encoder_hidden_states_image");
    const TimeConditioning time = model.time_conditioning(input("timestep"));
    model.forward_layers({0, config.num_layers}, hidden, time,
                         model.text_context(input("encoder_hidden_states"), image),
                         model.rotary().table(grid, 0, placement.device), attention);
    outputs["sample"] = model.head(hidden, time, grid);
  }

  Vae vae(Vae::Parts parts) const {
    const auto weights = checkpoint_weights(Checkpoint(model_dir / "vae"), placement);
    return Vae(read_vae_config(model_dir / "vae" / "config.json"), *weights, parts);
  }
  void vae_encode() { outputs["latents"] = vae(Vae::Parts::kBoth).encode(input("video")); }
  void vae_decode() { outputs["video"] = vae(Vae::Parts::kDecoder).decode(input("latents")); }

  void images() {
    const auto config = read_image_encoder_config(model_dir / "image_encoder" / "config.json");
    const auto processor = read_image_processor_config(model_dir / "image_processor" / "preprocessor_config.json");
    const auto weights = checkpoint_weights(Checkpoint(model_dir / "image_encoder"), placement);
    const ImageEncoder encoder(config, *weights);
    const at::Tensor first = input("first"), size = input("size");
    const int64_t height = size[0].item<int64_t>(), width = size[1].item<int64_t>();
    outputs = {{"pixels", encoder_pixels(first, processor)}, {"video_pixels", vae_pixels(first, height, width)}};
    outputs["embeds"] = encoder.encode(outputs["pixels"]);
  }

  void tokenize() {
    const Tokenizer tokenizer(model_dir / "tokenizer");
    auto cleaned = nlohmann::json::array();
    for (const auto& prompt : prompts()) {
      outputs["ids." + std::to_string(cleaned.size())] = at::tensor(tokenizer.encode(prompt));
      cleaned.push_back(clean_prompt(prompt));
    }
    metadata["cleaned"] = cleaned.dump();
  }

  void text() {
    const Tokenizer tokenizer(model_dir / "tokenizer");
    const auto weights = checkpoint_weights(Checkpoint(model_dir / "text_encoder"), placement);
    const TextEncoder encoder(read_text_encoder_config(model_dir / "text_encoder" / "config.json"), *weights);
    int i = 0;
    for (const auto& prompt : prompts()) {
      const auto ids = tokenizer.encode(prompt);
      outputs["ids." + std::to_string(i)] = at::tensor(ids);
      outputs["embeds." + std::to_string(i++)] = encoder.encode(ids, tokenizer.max_length());
    }
  }

  void sampler() {
    const auto config = read_scheduler_config(model_dir / "scheduler" / "scheduler_config.json");
    const SamplerKind kind = parse_sampler(inputs->metadata().at("kind"));
    const at::Tensor predictions = input("predictions");
    const Schedule schedule = make_schedule(kind, config, predictions.size(0));
    const auto stepper = make_sampler(kind, config, schedule);
    at::Tensor sample = input("sample");
    std::vector<at::Tensor> samples;
    for (int64_t i = 0; i < schedule.steps(); ++i) samples.push_back(sample = stepper->step(predictions[i], sample));
    outputs = {{"samples", at::stack(samples)},
               {"sigmas", at::tensor(schedule.sigmas)},
               {"timesteps", at::tensor(schedule.timesteps)}};
  }
};

const std::map<std::string, void (Probe::*)()> kParts = {
    {"transformer", &Probe::transformer}, {"vae_encode", &Probe::vae_encode},
    {"vae_decode", &Probe::vae_decode},   {"text", &Probe::text},
    {"images", &Probe::images},           {"tokenize", &Probe::tokenize},
    {"sampler", &Probe::sampler}};

int run(int argc, char** argv) {
  CLI::App app("Runs one part of the model on a file of inputs");
  std::string part, model_dir, inputs, outputs, dtype = "fp32", device = "cpu";
  app.add_option("part", part)->required()->check(CLI::IsMember(kParts));
  app.add_option("model_dir", model_dir)->required();
  app.add_option("inputs", inputs)->required();
  app.add_option("outputs", outputs)->required();
  app.add_option("--dtype", dtype);
  app.add_option("--device", device);
  CLI11_PARSE(app, argc, argv);
  Probe probe{model_dir, SafetensorsFile::open(inputs), {parse_device(device), parse_dtype(dtype)}, {}, {}};
  const c10::InferenceMode no_gradients;
  (probe.*kParts.at(part))();
  write_safetensors(outputs, probe.outputs, probe.metadata);
  return 0;
}

}  // namespace
}  // namespace dualparal

int main(int argc, char** argv) {
  try {
    return dualparal::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "parity_probe: %s\n", error.what());
    return 1;
  }
}
