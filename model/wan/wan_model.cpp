// SPDX-License-Identifier: Apache-2.0
#include "model/wan/wan_model.h"

#include <ATen/CPUGeneratorImpl.h>

#include "base/errors.h"
#include "base/nvtx.h"

namespace dualparal {
namespace {

constexpr uint64_t kRandomSeed = 0;  // of random weights: the same in every process

}  // namespace

WanModel::WanModel(std::filesystem::path dir, bool random_weights)
    : dir_(std::move(dir)), random_weights_(random_weights) {
  check_model_index(dir_);
  transformer_ = read_transformer_config(dir_ / "transformer" / "config.json");
  vae_ = read_vae_config(dir_ / "vae" / "config.json");
  text_encoder_ = read_text_encoder_config(dir_ / "text_encoder" / "config.json");
  scheduler_ = read_scheduler_config(dir_ / "scheduler" / "scheduler_config.json");
  check(vae_.z_dim == transformer_.in_channels, "{}: the VAE has {} latent channels, the transformer takes {}",
        dir_.string(), vae_.z_dim, transformer_.in_channels);
  check(text_encoder_.d_model == transformer_.text_dim,
        "{}: the text encoder gives {} numbers per token, the transformer takes {}", dir_.string(),
        text_encoder_.d_model, transformer_.text_dim);
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

std::unique_ptr<Transformer> WanModel::load_transformer(Placement placement, TransformerParts parts) const {
  const NvtxRange range("load transformer");
  return std::make_unique<Transformer>(transformer_, *weights("transformer", placement), parts);
}

std::unique_ptr<Vae> WanModel::load_vae(Placement placement, Vae::Parts parts) const {
  const NvtxRange range("load vae");
  return std::make_unique<Vae>(vae_, *weights("vae", placement), parts);
}

PromptEmbeds WanModel::encode_prompts(const std::string& prompt, const std::string& negative,
                                      Placement placement) const {
  if (random_weights_ && !has_tokenizer()) {
    const auto generator = at::detail::createCPUGenerator(kRandomSeed);
    const auto numbers = [&] { return at::randn({1, text_tokens(), text_encoder_.d_model}, generator); };
    return {numbers(), numbers()};
  }
  const Tokenizer tokenizer(dir_ / "tokenizer");
  const TextEncoder encoder(text_encoder_, *weights("text_encoder", placement));
  return {encoder.encode(tokenizer.encode(prompt), tokenizer.max_length()),
          encoder.encode(tokenizer.encode(negative), tokenizer.max_length())};
}

bool WanModel::has_tokenizer() const { return Tokenizer::is_in(dir_ / "tokenizer"); }

int64_t WanModel::text_tokens() const { return has_tokenizer() ? Tokenizer(dir_ / "tokenizer").max_length() : 512; }

}  // namespace dualparal
