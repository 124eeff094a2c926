// SPDX-License-Identifier: Apache-2.0
#include "model/wan/config.h"
#include "model/sampling/scheduler_config.h"

#include "base/json.h"
#include "model/checkpoint/config_reader.h"
#include "model/wan/wan_model.h"
#include "tests/testing.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;
using nlohmann::json;

const fs::path kModels = "configs/models";  // from the repository's root, where the tests run

// What distinguishes the published models; all else is the same for both.
struct Published {
  const char* name;
  int64_t heads, layers, ffn_dim;
  double flow_shift;
};
std::ostream& operator<<(std::ostream& out, const Published& model) { return out << model.name; }

const std::vector<Published> kPublished = {{"wan2.1-t2v-1.3b", 12, 30, 8960, 3.0},
                                           {"wan2.1-t2v-14b", 40, 40, 13824, 5.0}};

// The configuration of one part, where it lies in a model's folder, and the function that reads it.
struct Part {
  const char* file;
  void (*read)(const fs::path&);
};
std::ostream& operator<<(std::ostream& out, const Part& part) { return out << part.file; }

const Part kTransformer = {"transformer/config.json", [](const fs::path& file) { read_transformer_config(file); }};
const Part kVae = {"vae/config.json", [](const fs::path& file) { read_vae_config(file); }};
const Part kTextEncoder = {"text_encoder/config.json", [](const fs::path& file) { read_text_encoder_config(file); }};
const Part kScheduler = {"scheduler/scheduler_config.json", [](const fs::path& file) { read_scheduler_config(file); }};
const Part kIndex = {"model_index.json", [](const fs::path& file) { check_model_index(file.parent_path()); }};
const std::vector<Part> kParts = {kTransformer, kVae, kTextEncoder, kScheduler, kIndex};

json published(const Part& part) { return json::parse(read_file(kModels / "wan2.1-t2v-1.3b" / part.file)); }

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
    {kTransformer, "image_dim", 1280, {"image-to-video"}},
    {kTransformer, "added_kv_proj_dim", 5120, {"expected null"}},
    {kTransformer, "pos_embed_seq_len", 514, {"expected null"}},
    {kTransformer, "out_channels", 32, {"16"}},
    {kTransformer, "in_channels", 36, {"image-to-video", "36", "out_channels"}},
    {kTransformer, "patch_size", {2, 2, 2}, {"expected 1"}},
    {kTransformer, "patch_size", {1, 2}, {"three"}},
    {kTransformer, "patch_size", {1, 2, 0}, {"three positive"}},
    {kTransformer, "attention_head_dim", 127, {"even"}},
    {kTransformer, "freq_dim", 255, {"even"}},
    {kVae, "quantum", true, {"unknown key"}},
    {kVae, "_class_name", "AutoencoderKL", {"AutoencoderKLWan"}},
    {kVae, "is_residual", true, {"false"}},
    {kVae, "patch_size", 2, {"null"}},
    {kVae, "attn_scales", {1.0}, {"[]"}},
    {kVae, "in_channels", 12, {"3"}},
    {kVae, "out_channels", 12, {"3"}},
    {kVae, "decoder_base_dim", 256, {"96"}},
    {kVae, "scale_factor_spatial", 16, {"8"}},
    {kVae, "scale_factor_temporal", 8, {"4"}},
    {kVae, "latents_mean", {0.5}, {"16", "got 1"}},
    {kVae, "latents_std", {0.5}, {"16", "got 1"}},
    {kVae, "z_dim", 48, {"latents_mean", "48"}},
    {kVae, "temperal_downsample", {true, true}, {"expected 3"}},
    {kVae, "temperal_downsample", {true, true, true}, {"expected 2"}},
    {kVae, "dim_mult", {1, 2, 4}, {"temperal_downsample"}},
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
    {kIndex, "_class_name", "WanImageToVideoPipeline", {"WanPipeline"}},
    {kIndex, "vae", {"diffusers", "AutoencoderKL"}, {"AutoencoderKLWan"}},
    {kIndex, "scheduler", {"diffusers", "DDIMScheduler"}, {"UniPCMultistepScheduler"}},
    {kIndex, "transformer_2", {"diffusers", "WanTransformer3DModel"}, {"Wan 2.1"}},
    {kIndex, "boundary_ratio", 0.875, {"Wan 2.1"}},
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

BOOST_AUTO_TEST_SUITE(model_config)

BOOST_DATA_TEST_CASE(the_published_models_are_read_as_published, data::make(kPublished), model) {
  const fs::path dir = kModels / model.name;
  BOOST_CHECK_NO_THROW(check_model_index(dir));

  const TransformerConfig transformer = read_transformer_config(dir / kTransformer.file);
  BOOST_TEST((transformer.patch_size == std::array<int64_t, 3>{1, 2, 2}));
  BOOST_TEST(transformer.num_attention_heads == model.heads);
  BOOST_TEST(transformer.attention_head_dim == 128);
  BOOST_TEST(transformer.dim() == 128 * model.heads);
  BOOST_TEST(transformer.in_channels == 16);
  BOOST_TEST(transformer.out_channels == 16);
  BOOST_TEST(transformer.text_dim == 4096);
  BOOST_TEST(transformer.freq_dim == 256);
  BOOST_TEST(transformer.ffn_dim == model.ffn_dim);
  BOOST_TEST(transformer.num_layers == model.layers);
  BOOST_TEST(transformer.cross_attn_norm);
  BOOST_TEST(transformer.eps == 1e-6);
  BOOST_TEST(transformer.rope_max_seq_len == 1024);

  const VaeConfig vae = read_vae_config(dir / kVae.file);
  BOOST_TEST(vae.base_dim == 96);
  BOOST_TEST(vae.z_dim == 16);
  BOOST_TEST(vae.dim_mult == (std::vector<int64_t>{1, 2, 4, 4}), tt::per_element());
  BOOST_TEST(vae.num_res_blocks == 2);
  BOOST_TEST((vae.temporal_downsample == std::vector<bool>{false, true, true}));
  BOOST_TEST(
      vae.latents_mean == (std::vector<double>{-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
                                               0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921}),
      tt::per_element());
  BOOST_TEST(vae.latents_std == (std::vector<double>{2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
                                                     3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160}),
             tt::per_element());
  BOOST_TEST(vae.spatial_stride() == 8);
  BOOST_TEST(vae.temporal_stride() == 4);

  const TextEncoderConfig text = read_text_encoder_config(dir / kTextEncoder.file);
  BOOST_TEST(text.d_model == 4096);
  BOOST_TEST(text.d_kv == 64);
  BOOST_TEST(text.d_ff == 10240);
  BOOST_TEST(text.num_layers == 24);
  BOOST_TEST(text.num_heads == 64);
  BOOST_TEST(text.vocab_size == 256384);
  BOOST_TEST(text.relative_attention_num_buckets == 32);
  BOOST_TEST(text.relative_attention_max_distance == 128);
  BOOST_TEST(text.layer_norm_epsilon == 1e-6);

  const SchedulerConfig scheduler = read_scheduler_config(dir / kScheduler.file);
  BOOST_TEST(scheduler.class_name == "UniPCMultistepScheduler");
  BOOST_TEST(scheduler.num_train_timesteps == 1000);
  BOOST_TEST(scheduler.solver_order == 2);
  BOOST_TEST(scheduler.solver_type == "bh2");
  BOOST_TEST(scheduler.lower_order_final);
  BOOST_TEST(scheduler.disable_corrector.empty());
  BOOST_TEST(scheduler.flow_shift == model.flow_shift);
}

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

BOOST_AUTO_TEST_CASE(what_may_be_left_out_has_the_libraries_defaults) {
  const TempFolder folder;
  const auto write = [&](const Part& part, std::initializer_list<const char*> keys) {
    json config = published(part);
    for (const char* key : keys) config.erase(key);
    write_file(folder / "c.json", config.dump());
    return folder / "c.json";
  };
  const auto transformer = read_transformer_config(
      write(kTransformer, {"out_channels", "cross_attn_norm", "eps", "rope_max_seq_len", "qk_norm"}));
  BOOST_TEST(transformer.out_channels == 16);
  BOOST_TEST(transformer.cross_attn_norm);
  BOOST_TEST(transformer.eps == 1e-6);
  BOOST_TEST(transformer.rope_max_seq_len == 1024);
  const auto scheduler =
      read_scheduler_config(write(kScheduler, {"flow_shift", "solver_order", "solver_type", "lower_order_final",
                                               "disable_corrector", "num_train_timesteps"}));
  BOOST_TEST(scheduler.flow_shift == 1.0);
  BOOST_TEST(scheduler.solver_order == 2);
  BOOST_TEST(scheduler.solver_type == "bh2");
  BOOST_TEST(scheduler.lower_order_final);
}

BOOST_AUTO_TEST_CASE(values_other_than_the_published_are_read) {
  const TempFolder folder;
  json config = published(kTransformer);
  config.update({{"cross_attn_norm", false}, {"eps", 1e-5}, {"rope_max_seq_len", 64}, {"_note", "of the writer"}});
  write_file(folder / "t.json", config.dump());
  const auto transformer = read_transformer_config(folder / "t.json");
  BOOST_TEST(!transformer.cross_attn_norm);
  BOOST_TEST(transformer.eps == 1e-5);
  BOOST_TEST(transformer.rope_max_seq_len == 64);

  config = published(kScheduler);
  config.update(
      {{"solver_order", 3}, {"solver_type", "bh1"}, {"lower_order_final", false}, {"disable_corrector", {0, 2}}});
  write_file(folder / "s.json", config.dump());
  const auto unipc = read_scheduler_config(folder / "s.json");
  BOOST_TEST(unipc.solver_order == 3);
  BOOST_TEST(unipc.solver_type == "bh1");
  BOOST_TEST(!unipc.lower_order_final);
  BOOST_TEST(unipc.disable_corrector == (std::vector<int64_t>{0, 2}), tt::per_element());

  write_file(folder / "e.json",
             R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 7.0, "base_shift": 0.5})");
  const auto euler = read_scheduler_config(folder / "e.json");
  BOOST_TEST(euler.class_name == "FlowMatchEulerDiscreteScheduler");
  BOOST_TEST(euler.flow_shift == 7.0);
}

BOOST_AUTO_TEST_CASE(parts_that_do_not_fit_together_are_refused) {
  const auto expect_misfit = [](const json& change, const std::vector<std::string>& words) {
    const TempFolder folder;
    fs::copy(kModels / "wan2.1-t2v-1.3b", folder / "model", fs::copy_options::recursive);
    BOOST_CHECK_NO_THROW(WanModel(folder / "model", true));
    json config = published(kTransformer);
    config.update(change);
    write_file(folder / "model" / kTransformer.file, config.dump());
    expect_error(words, [&] { WanModel(folder / "model", true); });
  };
  expect_misfit({{"in_channels", 8}, {"out_channels", 8}}, {"VAE has 16", "takes 8"});
  expect_misfit({{"text_dim", 2048}}, {"4096 numbers", "takes 2048"});
}

BOOST_DATA_TEST_CASE(latents_hold_the_frames,
                     data::make({1, 2, 5, 6, 9, 80, 81, 82}) ^ data::make({1, 2, 2, 3, 3, 21, 21, 22}), frames,
                     latents) {
  BOOST_TEST(VaeConfig().geometry().latent_frames(frames) == latents);
}

BOOST_AUTO_TEST_CASE(no_frames_are_refused) {
  expect_error<UsageError>({"--frames", "positive", "0"}, [] { VaeConfig().geometry().latent_frames(0); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
