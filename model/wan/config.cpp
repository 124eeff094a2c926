// SPDX-License-Identifier: Apache-2.0
#include "model/wan/config.h"

#include <algorithm>

#include "model/checkpoint/config_reader.h"

namespace dualparal {
namespace {

// SkyReels-V2's own name for what is Wan's transformer unless told otherwise.
constexpr const char* kSkyReelsTransformer = "SkyReelsV2Transformer3DModel";
constexpr int64_t kMostPatch = 16;
constexpr size_t kMostScales = 8;      // of the VAE
constexpr int64_t kMostLayers = 1024;  // each is a list of tensors: memory is taken for them before any is read

}  // namespace

int64_t VaeConfig::temporal_stride() const {
  return int64_t{1} << std::count(temporal_downsample.begin(), temporal_downsample.end(), true);
}

TransformerConfig read_transformer_config(const std::filesystem::path& file) {
  ConfigReader reader(file);
  reader.only("_class_name", {"WanTransformer3DModel", kSkyReelsTransformer});
  if (reader.json().value("_class_name", nlohmann::json()) == kSkyReelsTransformer) {
    reader.only("inject_sample_info", {false});
    reader.only("num_frame_per_block", {1});  // more: attention that sees no later block
  }
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
  check(config.out_channels > 0 && config.out_channels <= config.in_channels,
        "{}: 'out_channels' = {} expected 1 to {}, 'in_channels'", file.string(), config.out_channels,
        config.in_channels);
  config.text_dim = reader.size("text_dim");
  config.freq_dim = reader.size("freq_dim");
  config.ffn_dim = reader.size("ffn_dim");
  config.num_layers = reader.size("num_layers", kMostLayers);
  config.cross_attn_norm = reader.optional("cross_attn_norm", true);
  config.eps = reader.optional("eps", 1e-6);
  config.rope_max_seq_len = reader.optional<int64_t>("rope_max_seq_len", 1024);
  reader.only("qk_norm", {"rms_norm_across_heads"});
  // Set in Wan 2.1's image-to-video checkpoints only.
  config.image_dim = reader.has("image_dim") ? reader.size("image_dim") : reader.optional<int64_t>("image_dim", 0);
  config.added_kv_proj_dim = reader.optional<int64_t>("added_kv_proj_dim", 0);
  config.pos_embed_seq_len = reader.optional<int64_t>("pos_embed_seq_len", 0);
  check(config.added_kv_proj_dim == (config.image_dim > 0 ? config.dim() : 0),
        "{}: 'added_kv_proj_dim' = {} expected {}: 'image_dim' is {}", file.string(), config.added_kv_proj_dim,
        config.image_dim > 0 ? config.dim() : 0, config.image_dim);
  check(config.pos_embed_seq_len >= 0 && (config.pos_embed_seq_len == 0 || config.image_dim > 0),
        "{}: 'pos_embed_seq_len' = {} needs an 'image_dim'", file.string(), config.pos_embed_seq_len);
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
  check(!config.dim_mult.empty() && config.dim_mult.size() <= kMostScales && std::ranges::min(config.dim_mult) > 0,
        "{}: 'dim_mult' expected at most {} positive numbers", file.string(), kMostScales);
  check(config.temporal_downsample.size() + 1 == config.dim_mult.size(),
        "{}: 'temperal_downsample' has {} entries, expected {} (one less than 'dim_mult')", file.string(),
        config.temporal_downsample.size(), config.dim_mult.size() - 1);
  for (const auto* values : {&config.latents_mean, &config.latents_std})
    check(static_cast<int64_t>(values->size()) == config.z_dim,
          "{}: 'latents_mean' and 'latents_std' expected {} entries (z_dim), got {}", file.string(), config.z_dim,
          values->size());
  check(config.temporal_stride() == 4, "{}: 'temperal_downsample' halves the frames {} times, expected 2",
        file.string(), std::count(config.temporal_downsample.begin(), config.temporal_downsample.end(), true));
  if (reader.has("decoder_base_dim")) config.decoder_base_dim = reader.size("decoder_base_dim");
  if (reader.has("patch_size")) config.patch_size = reader.size("patch_size", kMostPatch);
  config.is_residual = reader.optional("is_residual", false);
  reader.ignore({"decoder_base_dim", "patch_size"});  // null: none
  reader.only("attn_scales", {nlohmann::json::array()});
  reader.only("in_channels", {config.pixel_channels()});
  reader.only("out_channels", {config.pixel_channels()});
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
  config.num_layers = reader.size("num_layers", kMostLayers);
  config.num_heads = reader.size("num_heads");
  config.vocab_size = reader.size("vocab_size");
  config.relative_attention_num_buckets = reader.optional<int64_t>("relative_attention_num_buckets", 32);
  config.relative_attention_max_distance = reader.optional<int64_t>("relative_attention_max_distance", 128);
  check(config.relative_attention_num_buckets >= 4 && config.relative_attention_num_buckets <= 1 << 20 &&
            config.relative_attention_max_distance > config.relative_attention_num_buckets / 4,
        "{}: expected 4 'relative_attention_num_buckets' or more, and a 'relative_attention_max_distance' above a "
        "fourth of them; got {} and {}",
        file.string(), config.relative_attention_num_buckets, config.relative_attention_max_distance);
  config.layer_norm_epsilon = reader.optional("layer_norm_epsilon", 1e-6);
  // transformers writes every generation setting it knows, a growing list, so unknown keys are not refused here;
  // every key that changes the encoder is read above, and the tensors' names and shapes are checked on loading.
  return config;
}

ModelIndex check_model_index(const std::filesystem::path& model_dir) {
  check(std::filesystem::is_directory(model_dir),
        "{}: no such folder for a model; `dualparal doctor` says how to get one (the embedded model needs no --model)",
        model_dir.string());
  ConfigReader reader(model_dir / "model_index.json");
  const auto class_name = reader.required<std::string>("_class_name");
  ModelIndex index;
  index.from_image = class_name == "WanImageToVideoPipeline";
  check(index.from_image || class_name == "WanPipeline" || class_name == "SkyReelsV2DiffusionForcingPipeline",
        "{}: '_class_name' expected \"WanPipeline\", \"WanImageToVideoPipeline\" or "
        "\"SkyReelsV2DiffusionForcingPipeline\", got \"{}\"",
        reader.file().string(), class_name);
  const auto expect = [&](const std::string& part, std::initializer_list<const char*> classes) {
    const auto value = reader.required<std::vector<std::string>>(part);
    check(value.size() == 2 && std::find(classes.begin(), classes.end(), value[1]) != classes.end(),
          "{}: part '{}' is a {}, expected a {}", reader.file().string(), part, reader.json()[part].dump(),
          *classes.begin());
  };
  expect("transformer", {"WanTransformer3DModel", kSkyReelsTransformer});
  expect("vae", {"AutoencoderKLWan"});
  expect("text_encoder", {"UMT5EncoderModel"});
  expect("tokenizer", {"T5TokenizerFast", "T5Tokenizer", "AutoTokenizer", "TokenizersBackend"});
  expect("scheduler", {"UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler"});
  const auto there = [&](const std::string& part) {
    return reader.has(part) &&
           !(reader.json()[part].is_array() && !reader.json()[part].empty() && reader.json()[part][0].is_null());
  };
  index.image_encoder = there("image_encoder");
  if (index.image_encoder) expect("image_encoder", {"CLIPVisionModel"});
  index.boundary_ratio = reader.optional("boundary_ratio", 0.0);
  check(there("transformer_2") == (index.boundary_ratio > 0) && index.boundary_ratio < 1,
        "{}: 'boundary_ratio' = {} and 'transformer_2' expected both (a ratio between 0 and 1) or neither",
        reader.file().string(), index.boundary_ratio);
  if (there("transformer_2")) expect("transformer_2", {"WanTransformer3DModel"});
  index.expand_timesteps = reader.optional("expand_timesteps", false);
  return index;
}

}  // namespace dualparal
