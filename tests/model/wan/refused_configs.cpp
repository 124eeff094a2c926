// SPDX-License-Identifier: Apache-2.0
// Configurations that are refused: by file, key and what was expected.
#include "tests/model/wan/config_parts.h"

namespace dualparal::testing {
namespace {

// Reads `content` as the configuration of `part`; the file's name is that of the part.
void read(const Part& part, const std::string& content) {
  const TempFolder folder;
  const auto file = folder / fs::path(part.file).filename();
  write_file(file, content);
  part.read(file);
}

// The published configuration with one key set to another value; a discarded value removes the key.
struct Change {
  Part part;
  const char* key;
  json value;
  std::vector<std::string> words = {};
};
std::ostream& operator<<(std::ostream& out, const Change& change) {
  return out << change.part.file << " " << change.key << " = " << change.value;
}

std::string changed(const Change& change) {
  json config = published(change.part);
  if (change.value.is_discarded())
    config.erase(change.key);
  else
    config[change.key] = change.value;
  return config.dump();
}

const json kRemoved = json::value_t::discarded;

const std::vector<Change> kRefused = {
    // Keys and values of models that are not Wan 2.1 text-to-video.
    {kTransformer, "window", 3, {"unknown key"}},
    {kTransformer, "_class_name", "FluxTransformer2DModel", {"WanTransformer3DModel"}},
    {kTransformer, "qk_norm", "layer_norm", {"rms_norm_across_heads"}},
    {kTransformer, "qk_norm", nullptr, {"rms_norm_across_heads"}},
    {kTransformer, "image_dim", -1, {"positive"}},
    {kTransformer, "added_kv_proj_dim", 5120, {"expected 0"}},
    {kTransformer, "pos_embed_seq_len", 514, {"image_dim"}},
    {kTransformer, "out_channels", 32, {"16"}},
    {kTransformer, "patch_size", {2, 2, 2}, {"expected 1"}},
    {kTransformer, "patch_size", {1, 2}, {"three"}},
    {kTransformer, "patch_size", {1, 2, 0}, {"three positive"}},
    {kTransformer, "attention_head_dim", 127, {"even"}},
    {kTransformer, "freq_dim", 255, {"even"}},
    {kVae, "quantum", true, {"unknown key"}},
    {kVae, "_class_name", "AutoencoderKL", {"AutoencoderKLWan"}},
    {kVae, "is_residual", "yes", {"wrong type"}},
    {kVae, "patch_size", 0, {"positive"}},
    {kVae, "dim_mult", {1, 2, 0, 4}, {"positive"}},
    {kVae, "dim_mult", std::vector<int64_t>(64, 1), {"dim_mult", "at most 8"}},
    {kVae, "attn_scales", {1.0}, {"[]"}},
    {kVae, "in_channels", 12, {"3"}},
    {kVae, "out_channels", 12, {"3"}},
    {kVae, "decoder_base_dim", -1, {"positive"}},
    {kVae, "scale_factor_spatial", 16, {"8"}},
    {kVae, "scale_factor_temporal", 8, {"4"}},
    {kVae, "latents_mean", {0.5}, {"16", "got 1"}},
    {kVae, "latents_std", {0.5}, {"16", "got 1"}},
    {kVae, "z_dim", 48, {"latents_mean", "48"}},
    {kVae, "temperal_downsample", {true, true}, {"expected 3"}},
    {kVae, "temperal_downsample", {true, true, true}, {"expected 2"}},
    {kVae, "dim_mult", {1, 2, 4}, {"temperal_downsample"}},
    {kTextEncoder, "relative_attention_num_buckets", 2, {"got 2 and 128"}},
    {kTextEncoder, "relative_attention_max_distance", 8, {"got 32 and 8"}},
    {kTextEncoder, "model_type", "t5", {"umt5"}},
    {kTextEncoder, "feed_forward_proj", "gated-silu", {"gated-gelu"}},
    {kTextEncoder, "dense_act_fn", "relu", {"gelu_new"}},
    {kScheduler, "surprise", 1, {"unknown key"}},
    {kScheduler, "_class_name", "DDIMScheduler", {"UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler"}},
    {kScheduler, "solver_type", "midpoint", {"bh1 or bh2"}},
    {kScheduler, "solver_order", 4, {"1, 2 or 3"}},
    {kScheduler, "prediction_type", "epsilon", {"flow_prediction"}},
    {kScheduler, "prediction_type", kRemoved, {"flow_prediction"}},
    {kScheduler, "use_flow_sigmas", false, {"true"}},
    {kScheduler, "use_flow_sigmas", kRemoved, {"true"}},
    {kScheduler, "predict_x0", false, {"true"}},
    {kScheduler, "thresholding", true, {"false"}},
    {kScheduler, "use_karras_sigmas", true, {"false"}},
    {kScheduler, "use_beta_sigmas", true, {"false"}},
    {kScheduler, "use_exponential_sigmas", true, {"false"}},
    {kScheduler, "use_dynamic_shifting", true, {"false"}},
    {kScheduler, "shift_terminal", 0.1, {"null"}},
    {kScheduler, "final_sigmas_type", "sigma_min", {"zero"}},
    {kIndex,
     "_class_name",
     "WanVideoToVideoPipeline",
     {"WanPipeline", "WanImageToVideoPipeline", "SkyReelsV2Diffusion"}},
    {kTransformer, "inject_sample_info", true, {"unknown key"}},
    {kIndex, "image_encoder", {"transformers", "CLIPTextModel"}, {"CLIPVisionModel"}},
    {kIndex, "expand_timesteps", "yes", {"wrong type"}},
    {kIndex, "vae", {"diffusers", "AutoencoderKL"}, {"AutoencoderKLWan"}},
    {kIndex, "scheduler", {"diffusers", "DDIMScheduler"}, {"UniPCMultistepScheduler"}},
    {kIndex, "transformer_2", {"diffusers", "WanTransformer3DModel"}, {"boundary_ratio", "both"}},
    {kIndex, "boundary_ratio", 0.875, {"transformer_2", "both"}},
    // Wrong types, and numbers that no size can be.
    {kTransformer, "num_layers", "30", {"integer"}},
    {kTransformer, "num_layers", 30.5, {"integer"}},
    {kTransformer, "ffn_dim", 0, {"positive"}},
    {kTransformer, "text_dim", -1, {"positive"}},
    {kTransformer, "cross_attn_norm", 1, {"wrong type"}},
    {kTransformer, "eps", "small", {"wrong type"}},
    {kTransformer, "patch_size", 2, {"wrong type"}},
    {kTransformer, "rope_max_seq_len", true, {"integer"}},
    {kVae, "base_dim", {96}, {"integer"}},
    {kVae, "dim_mult", {"1", "2"}, {"wrong type"}},
    {kVae, "temperal_downsample", {0, 1, 1}, {"wrong type"}},
    {kVae, "latents_mean", "zero", {"wrong type"}},
    {kTextEncoder, "vocab_size", nullptr, {"missing"}},
    {kTextEncoder, "layer_norm_epsilon", false, {"wrong type"}},
    {kTextEncoder, "d_kv", 0, {"positive"}},
    {kScheduler, "lower_order_final", "yes", {"wrong type"}},
    {kScheduler, "disable_corrector", 3, {"wrong type"}},
    {kScheduler, "flow_shift", "3", {"wrong type"}},
    {kScheduler, "num_train_timesteps", 1e3, {"integer"}},
    {kTransformer, "num_layers", int64_t{1} << 32, {"at most 1024"}},
    {kTransformer, "ffn_dim", int64_t{1} << 40, {"at most 1048576"}},
    {kIndex, "tokenizer", "T5TokenizerFast", {"wrong type"}},
    {kIndex, "vae", {"diffusers"}, {"AutoencoderKLWan"}},
};

// Keys without which there is no model.
const std::vector<Change> kRequired = [] {
  std::vector<Change> keys;
  for (const char* key : {"patch_size", "num_attention_heads", "attention_head_dim", "in_channels", "text_dim",
                          "freq_dim", "ffn_dim", "num_layers"})
    keys.push_back({kTransformer, key, kRemoved});
  for (const char* key :
       {"base_dim", "z_dim", "dim_mult", "num_res_blocks", "temperal_downsample", "latents_mean", "latents_std"})
    keys.push_back({kVae, key, kRemoved});
  for (const char* key : {"d_model", "d_kv", "d_ff", "num_layers", "num_heads", "vocab_size"})
    keys.push_back({kTextEncoder, key, kRemoved});
  keys.push_back({kScheduler, "_class_name", kRemoved});
  for (const char* key : {"_class_name", "transformer", "vae", "text_encoder", "tokenizer", "scheduler"})
    keys.push_back({kIndex, key, kRemoved});
  return keys;
}();

}  // namespace

BOOST_AUTO_TEST_SUITE(refused_model_configs)

BOOST_DATA_TEST_CASE(what_is_not_known_is_refused_by_file_and_key, data::make(kRefused), change) {
  std::vector<std::string> words = change.words;
  words.push_back(fs::path(change.part.file).filename());
  // Where one value contradicts another, either may be named.
  const bool pair = std::string(change.key) == "z_dim" || std::string(change.key) == "dim_mult" ||
                    std::string(change.key) == "in_channels";
  if (!pair) words.push_back("'" + std::string(change.key) + "'");
  expect_error(words, [&] { read(change.part, changed(change)); });
}

BOOST_DATA_TEST_CASE(a_missing_key_is_named, data::make(kRequired), change) {
  expect_error({fs::path(change.part.file).filename(), "'" + std::string(change.key) + "'"},
               [&] { read(change.part, changed(change)); });
}

BOOST_DATA_TEST_CASE(a_file_that_is_no_json_object_is_refused,
                     data::make(kParts) * data::make({"", "{", "{\"a\": }", "[1, 2]", "null"}), part, content) {
  expect_error({fs::path(part.file).filename(), "JSON"}, [&] { read(part, content); });
}

BOOST_DATA_TEST_CASE(a_missing_file_is_named, data::make(kParts), part) {
  const TempFolder folder;
  const auto file = folder / fs::path(part.file).filename();
  expect_error({file.string()}, [&] { part.read(file); });
}

BOOST_AUTO_TEST_CASE(a_missing_folder_is_named) {
  expect_error({"/nowhere/model", "no such folder"}, [] { check_model_index("/nowhere/model"); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
