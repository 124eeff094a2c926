// SPDX-License-Identifier: Apache-2.0
#include "model/wan/config.h"

#include "model/wan/wan_model.h"
#include "tests/model/wan/config_parts.h"

namespace dualparal::testing {
namespace {

namespace tt = boost::test_tools;

// What distinguishes the published models; all else is the same for both.
struct Published {
  const char* name;
  int64_t heads, layers, ffn_dim;
  double flow_shift;
};
std::ostream& operator<<(std::ostream& out, const Published& model) { return out << model.name; }

const std::vector<Published> kPublished = {{"wan2.1-t2v-1.3b", 12, 30, 8960, 3.0},
                                           {"wan2.1-t2v-14b", 40, 40, 13824, 5.0}};

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
  expect_misfit({{"in_channels", 36}}, {"WanPipeline needs 0 channels beside", "takes 20"});
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
