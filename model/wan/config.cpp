// SPDX-License-Identifier: Apache-2.0
#include "model/wan/config.h"

#include <algorithm>

#include "model/checkpoint/config_reader.h"

namespace dualparal {

int64_t VaeConfig::temporal_stride() const {
  return int64_t{1} << std::count(temporal_downsample.begin(), temporal_downsample.end(), true);
}

TransformerConfig read_transformer_config(const std::filesystem::path& file) {
  ConfigReader reader(file);
  reader.only("_class_name", {"WanTransformer3DModel"});
  TransformerConfig config;
  const auto patch = reader.required<std::vector<int64_t>>("patch_size");
  check(patch.size() == 3 && *std::min_element(patch.begin(), patch.end()) > 0,
        "{}: 'patch_size' expected three positive numbers (frames, height, width)", file.string());
  std::copy(patch.begin(), patch.end(), config.patch_size.begin());
  check(config.patch_size[0] == 1, "{}: 'patch_size' = {} frames is not supported, expected 1", file.string(),
        config.patch_size[0]);
  config.num_attention_heads = reader.size("num_attention_heads");
  config.attention_head_dim = reader.size("attention_head_dim");
  config.in_channels = reader.size("in_channels");
  config.out_channels = reader.optional<int64_t>("out_channels", config.in_channels);
  check(config.out_channels >= config.in_channels && !reader.has("image_dim"),
        "{}: an image-to-video transformer ('in_channels' = {}, 'out_channels' = {}, the rest for the image); this "
        "program "
        "reads text-to-video ones",
        file.string(), config.in_channels, config.out_channels);
  check(config.out_channels == config.in_channels, "{}: 'out_channels' = {} expected {} as 'in_channels'",
        file.string(), config.out_channels, config.in_channels);
  config.text_dim = reader.size("text_dim");
  config.freq_dim = reader.size("freq_dim");
  config.ffn_dim = reader.size("ffn_dim");
  config.num_layers = reader.size("num_layers");
  config.cross_attn_norm = reader.optional("cross_attn_norm", true);
  config.eps = reader.optional("eps", 1e-6);
  config.rope_max_seq_len = reader.optional<int64_t>("rope_max_seq_len", 1024);
  reader.only("qk_norm", {"rms_norm_across_heads"});
  // Set in image-to-video checkpoints only.
  reader.only("image_dim", {nullptr});
  reader.only("added_kv_proj_dim", {nullptr});
  reader.only("pos_embed_seq_len", {nullptr});
  reader.ignore({"window_size", "add_img_emb"});
  reader.refuse_unknown();
  check(config.attention_head_dim % 2 == 0, "{}: 'attention_head_dim' = {} expected an even number", file.string(),
        config.attention_head_dim);
  check(config.freq_dim % 2 == 0, "{}: 'freq_dim' = {} expected an even number", file.string(), config.freq_dim);
  return config;
}

VaeConfig read_vae_config(const std::filesystem::path& file) {
  ConfigReader reader(file);
  reader.only("_class_name", {"AutoencoderKLWan"});
  VaeConfig config;
  config.base_dim = reader.size("base_dim");
  config.z_dim = reader.size("z_dim");
  config.dim_mult = reader.required<std::vector<int64_t>>("dim_mult");
  config.num_res_blocks = reader.size("num_res_blocks");
  config.temporal_downsample = reader.required<std::vector<bool>>("temperal_downsample");
  config.latents_mean = reader.required<std::vector<double>>("latents_mean");
  config.latents_std = reader.required<std::vector<double>>("latents_std");
  check(!config.dim_mult.empty() && config.temporal_downsample.size() + 1 == config.dim_mult.size(),
        "{}: 'temperal_downsample' has {} entries, expected {} (one less than 'dim_mult')", file.string(),
        config.temporal_downsample.size(), config.dim_mult.size() - 1);
  for (const auto* values : {&config.latents_mean, &config.latents_std})
    check(static_cast<int64_t>(values->size()) == config.z_dim,
          "{}: 'latents_mean' and 'latents_std' expected {} entries (z_dim), got {}", file.string(), config.z_dim,
          values->size());
  check(config.temporal_stride() == 4, "{}: 'temperal_downsample' halves the frames {} times, expected 2",
        file.string(), std::count(config.temporal_downsample.begin(), config.temporal_downsample.end(), true));
  reader.only("decoder_base_dim", {nullptr, config.base_dim});
  reader.only("attn_scales", {nlohmann::json::array()});
  reader.only("is_residual", {false});  // Wan 2.2
  reader.only("in_channels", {3});
  reader.only("out_channels", {3});
  reader.only("patch_size", {nullptr});
  reader.only("scale_factor_temporal", {config.temporal_stride()});
  reader.only("scale_factor_spatial", {config.spatial_stride()});
  reader.ignore({"dropout", "clip_output", "non_linearity"});
  reader.refuse_unknown();
  return config;
}

TextEncoderConfig read_text_encoder_config(const std::filesystem::path& file) {
  ConfigReader reader(file);
  TextEncoderConfig config;
  reader.only("model_type", {"umt5"});
  reader.only("feed_forward_proj", {"gated-gelu"});
  reader.only("dense_act_fn", {"gelu_new"});
  config.d_model = reader.size("d_model");
  config.d_kv = reader.size("d_kv");
  config.d_ff = reader.size("d_ff");
  config.num_layers = reader.size("num_layers");
  config.num_heads = reader.size("num_heads");
  config.vocab_size = reader.size("vocab_size");
  config.relative_attention_num_buckets = reader.optional<int64_t>("relative_attention_num_buckets", 32);
  config.relative_attention_max_distance = reader.optional<int64_t>("relative_attention_max_distance", 128);
  config.layer_norm_epsilon = reader.optional("layer_norm_epsilon", 1e-6);
  // transformers writes every generation setting it knows, a growing list, so unknown keys are not refused here;
  // every key that changes the encoder is read above, and the tensors' names and shapes are checked on loading.
  return config;
}

void check_model_index(const std::filesystem::path& model_dir) {
  check(std::filesystem::is_directory(model_dir), "{}: no such folder for a model", model_dir.string());
  ConfigReader reader(model_dir / "model_index.json");
  const auto class_name = reader.required<std::string>("_class_name");
  check(class_name != "WanImageToVideoPipeline",
        "{}: an image-to-video checkpoint; this program reads text-to-video ones (WanPipeline), as "
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        reader.file().string());
  check(class_name == "WanPipeline", "{}: '_class_name' expected \"WanPipeline\", got \"{}\"", reader.file().string(),
        class_name);
  const auto expect = [&](const std::string& part, std::initializer_list<const char*> classes) {
    const auto value = reader.required<std::vector<std::string>>(part);
    check(value.size() == 2 && std::find(classes.begin(), classes.end(), value[1]) != classes.end(),
          "{}: part '{}' is a {}, expected a {}", reader.file().string(), part, reader.json()[part].dump(),
          *classes.begin());
  };
  expect("transformer", {"WanTransformer3DModel"});
  expect("vae", {"AutoencoderKLWan"});
  expect("text_encoder", {"UMT5EncoderModel"});
  expect("tokenizer", {"T5TokenizerFast", "T5Tokenizer", "AutoTokenizer", "TokenizersBackend"});
  expect("scheduler", {"UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler"});
  // Wan 2.2 mixtures carry a second transformer.
  for (const char* key : {"transformer_2", "boundary_ratio"}) {
    if (!reader.has(key)) continue;
    const auto& value = reader.json()[key];
    const bool absent = value.is_array() && value.size() == 2 && value[0].is_null();
    check(absent, "{}: '{}' = {} is not supported: this program reads Wan 2.1 text-to-video checkpoints",
          reader.file().string(), key, value.dump());
  }
}

}  // namespace dualparal
