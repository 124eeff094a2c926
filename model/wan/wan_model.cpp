// SPDX-License-Identifier: Apache-2.0
#include "model/wan/wan_model.h"

#include <ATen/CPUGeneratorImpl.h>

#include "base/device.h"
#include "base/errors.h"
#include "base/finite.h"
#include "base/measure/nvtx.h"
#include "model/tokenizer/text_length.h"

namespace dualparal {
namespace {

constexpr uint64_t kRandomSeed = 0;  // of random weights: the same in every process

}  // namespace

WanModel::WanModel(std::filesystem::path dir, bool random_weights, std::vector<LoraSpec> loras)
    : dir_(std::move(dir)), random_weights_(random_weights), loras_(std::move(loras)) {
  index_ = check_model_index(dir_);
  transformer_ = read_transformer_config(dir_ / "transformer" / "config.json");
  vae_ = read_vae_config(dir_ / "vae" / "config.json");
  text_encoder_ = read_text_encoder_config(dir_ / "text_encoder" / "config.json");
  scheduler_ = read_scheduler_config(dir_ / "scheduler" / "scheduler_config.json");
  if (experts() == 2)
    check(read_transformer_config(dir_ / "transformer_2" / "config.json") == transformer_,
          "{}: the configurations of transformer and transformer_2 differ", dir_.string());
  check(vae_.z_dim == transformer_.out_channels, "{}: the VAE has {} latent channels, the transformer takes {}",
        dir_.string(), vae_.z_dim, transformer_.out_channels);
  const int64_t beside = vae_.z_dim + vae_.temporal_stride();  // encoded image and mask
  const bool sees_image = index_.from_image && !index_.expand_timesteps;
  check(transformer_.condition_channels() == (sees_image ? beside : 0),
        "{}: {}{} needs {} channels beside the {} of the latents, the transformer takes {}", dir_.string(),
        index_.from_image ? "WanImageToVideoPipeline" : "WanPipeline",
        index_.expand_timesteps ? " with 'expand_timesteps'" : "", sees_image ? beside : 0, vae_.z_dim,
        transformer_.condition_channels());
  check(!index_.expand_timesteps || !needs_image_embeds(),
        "{}: 'expand_timesteps' and a transformer that takes an image encoder's embeddings ('image_dim' {}) do not go "
        "together",
        dir_.string(), transformer_.image_dim);
  check(text_encoder_.d_model == transformer_.text_dim,
        "{}: the text encoder gives {} numbers per token, the transformer takes {}", dir_.string(),
        text_encoder_.d_model, transformer_.text_dim);
  for (const LoraSpec& lora : loras_)
    check_usage(lora.expert.empty() || experts() == 2, "--lora {}={}: {} has one transformer, not two experts",
                lora.expert, lora.file.string(), dir_.string());
  if (needs_image_embeds()) read_image_encoder();
}

void WanModel::read_image_encoder() {
  check(index_.image_encoder, "{}: the transformer takes an image's embeddings, but there is no 'image_encoder'",
        (dir_ / "model_index.json").string());
  image_encoder_ = read_image_encoder_config(dir_ / "image_encoder" / "config.json");
  image_processor_ = read_image_processor_config(dir_ / "image_processor" / "preprocessor_config.json");
  check(image_encoder_.hidden_size == transformer_.image_dim,
        "{}: the image encoder gives {} numbers per token, the transformer takes {}", dir_.string(),
        image_encoder_.hidden_size, transformer_.image_dim);
  check(image_processor_.crop == image_encoder_.image_size, "{}: images of {} pixels for an image encoder of {}",
        dir_.string(), image_processor_.crop, image_encoder_.image_size);
}

double WanModel::boundary_timestep() const {
  return index_.boundary_ratio * static_cast<double>(scheduler_.num_train_timesteps);
}

int64_t WanModel::image_tokens() const {
  return transformer_.pos_embed_seq_len > 0 ? transformer_.pos_embed_seq_len : image_encoder_.tokens();
}

std::string WanModel::name() const {
  const auto absolute = std::filesystem::weakly_canonical(dir_);
  return (absolute.has_filename() ? absolute : absolute.parent_path()).filename().string();
}

bool WanModel::has_weights() const {
  return Checkpoint::is_in(dir_ / "transformer") || Checkpoint::is_in(dir_ / "vae") ||
         Checkpoint::is_in(dir_ / "text_encoder");
}

std::unique_ptr<WeightSource> WanModel::weights(const std::string& part, Placement placement) const {
  if (placement.device.is_meta()) return shapes_only(placement.dtype);
  if (random_weights_) return dualparal::random_weights(kRandomSeed, placement);
  return checkpoint_weights(Checkpoint(dir_ / part), placement);
}

std::unique_ptr<Transformer> WanModel::load_transformer(Placement placement, TransformerParts parts,
                                                        int64_t expert) const {
  const NvtxRange range("load transformer");
  std::vector<LoraSpec> loras;
  for (const LoraSpec& lora : loras_)
    if (lora.expert.empty() || (lora.expert == "low") == (expert == 1)) loras.push_back(lora);
  const auto source = with_loras(weights(expert == 1 ? "transformer_2" : "transformer", placement), loras);
  return std::make_unique<Transformer>(transformer_, *source, parts);
}

std::unique_ptr<Vae> WanModel::load_vae(Placement placement, Vae::Parts parts) const {
  const NvtxRange range("load vae");
  return std::make_unique<Vae>(vae_, *weights("vae", placement), parts);
}

PromptEmbeds WanModel::encode_prompts(const std::string& prompt, const std::string& negative,
                                      Placement placement) const {
  return encode_prompts(std::vector{prompt}, negative, placement).front();
}

std::vector<PromptEmbeds> WanModel::encode_prompts(const std::vector<std::string>& prompts, const std::string& negative,
                                                   Placement placement) const {
  std::vector<PromptEmbeds> all;
  if (random_weights_ && !has_tokenizer()) {
    const auto generator = at::detail::createCPUGenerator(kRandomSeed);
    const auto numbers = [&] { return at::randn({1, text_tokens(), text_encoder_.d_model}, generator); };
    for (size_t i = 0; i < prompts.size(); ++i) {
      at::Tensor prompt = numbers();  // before its negative
      all.push_back({std::move(prompt), numbers()});
    }
    return all;
  }
  const Tokenizer tokenizer(dir_ / "tokenizer");
  const TextEncoder encoder(text_encoder_, *weights("text_encoder", placement));
  const auto encode = [&](const std::string& text, const char* name) {
    const at::Tensor embeds = encoder.encode(tokenizer.encode(text), tokenizer.max_length());
    check_finite(embeds, fmt::format("{}: the embeddings of the {} in {}", (dir_ / "text_encoder").string(), name,
                                     dtype_name(placement.dtype)));
    return embeds;
  };
  for (const std::string& prompt : prompts) all.push_back({encode(prompt, "prompt"), {}});
  const at::Tensor of_negative = encode(negative, "negative prompt");
  for (PromptEmbeds& embeds : all) embeds.negative = of_negative;
  return all;
}

ImageCondition WanModel::encode_images(const VideoImages& images, int64_t latent_frames, int64_t height, int64_t width,
                                       Placement vae_placement) const {
  ImageCondition out;
  if (needs_image_embeds()) {
    std::vector<at::Tensor> pixels;
    for (const at::Tensor& image : {images.first, images.last})
      if (image.defined()) pixels.push_back(encoder_pixels(image, image_processor_));
    const int64_t given = static_cast<int64_t>(pixels.size()) * image_encoder_.tokens();
    check_usage(
        given == image_tokens(),
        "--image, --last-image: {} image(s) give {} tokens, {} expects {}: a model for first and last image takes "
        "both, another with an image encoder only the first",
        pixels.size(), given, dir_.string(), image_tokens());
    // As diffusers keeps it whatever the transformer's dtype is.
    const ImageEncoder encoder(image_encoder_, *weights("image_encoder", {vae_placement.device, at::kFloat}));
    out.embeds = encoder.encode(at::cat(pixels)).flatten(0, 1).unsqueeze(0).cpu();
  }
  const auto vae = load_vae(vae_placement, Vae::Parts::kBoth);
  if (takes_first_frame()) {
    out.condition = vae->encode(vae_pixels(images.first, height, width)).cpu();
    return out;
  }
  out.condition = make_condition(*vae, images, latent_frames, height, width);
  return out;
}

bool WanModel::has_tokenizer() const { return Tokenizer::is_in(dir_ / "tokenizer"); }

int64_t WanModel::text_tokens() const { return text_length(dir_ / "tokenizer"); }

}  // namespace dualparal
