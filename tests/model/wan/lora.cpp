// SPDX-License-Identifier: Apache-2.0
#include "model/wan/lora.h"

#include "model/checkpoint/safetensors.h"
#include "tests/model/tiny.h"

namespace dualparal::testing {
namespace {

BOOST_AUTO_TEST_SUITE(lora)

struct Named {
  const char *name, *module, *part;
};
std::ostream& operator<<(std::ostream& out, const Named& one) { return out << one.name; }

const Named kNames[] = {
    {"transformer.blocks.3.attn2.to_out.0.lora_A.weight", "blocks.3.attn2.to_out.0", "down"},
    {"blocks.3.ffn.net.2.lora_B.weight", "blocks.3.ffn.net.2", "up"},
    {"base_model.model.proj_out.lora_B.bias", "proj_out", "up_bias"},
    {"diffusion_model.blocks.12.cross_attn.k_img.lora_up.weight", "blocks.12.attn2.add_k_proj", "up"},
    {"diffusion_model.blocks.0.ffn.0.diff_b", "blocks.0.ffn.net.0.proj", "diff_b"},
    {"diffusion_model.head.modulation.diff", "scale_shift_table", "diff"},
    {"diffusion_model.time_embedding.2.alpha", "condition_embedder.time_embedder.linear_2", "alpha"},
    {"lora_unet_blocks_39_self_attn_norm_q.diff", "blocks.39.attn1.norm_q", "diff"},
    {"lora_unet_blocks_7_ffn_2.lora_down.weight", "blocks.7.ffn.net.2", "down"},
    {"lora_unet_text_embedding_0.alpha", "condition_embedder.text_embedder.linear_1", "alpha"},
};

BOOST_DATA_TEST_CASE(names_of_every_style_are_diffusers_names, data::make(kNames), one) {
  const LoraName name = lora_name("a.safetensors", one.name);
  BOOST_TEST(name.module == one.module);
  BOOST_TEST(name.part == one.part);
}

BOOST_DATA_TEST_CASE(other_names_are_refused,
                     data::make({"blocks.0.attn1.to_q.weight", "lora_unet_blocks_x_self_attn_q.alpha",
                                 "lora_unet_blocks_1.alpha", "lora_unet_blocks_1_self_attn_w.alpha",
                                 "blocks.0.attn1.to_q.dora_scale"}),
                     name) {
  expect_error({"a.safetensors", name}, [&] { lora_name("a.safetensors", name); });
}

BOOST_AUTO_TEST_CASE(flags) {
  const auto is = [](const char* text, const char* file, double scale, const char* expert) {
    const LoraSpec spec = parse_lora(text);
    BOOST_TEST(spec.file.string() == file);
    BOOST_TEST(spec.scale == scale);
    BOOST_TEST(spec.expert == expert);
  };
  is("a.safetensors", "a.safetensors", 1, "");
  is("low=b/a.safetensors:-0.5", "b/a.safetensors", -0.5, "low");
  is("high=c:/a", "c:/a", 1, "high");
  is("a:1:2e-1", "a:1", 0.2, "");
  is("a:", "a:", 1, "");
  expect_error<UsageError>({"--lora"}, [] { parse_lora(""); });
  expect_error<UsageError>({"--lora", "high="}, [] { parse_lora("high="); });
  expect_error<UsageError>({"--lora", "finite"}, [] { parse_lora("a:inf"); });
}

// A rank reads no more of a LoRA than of the checkpoint.
BOOST_AUTO_TEST_CASE(only_what_is_held_is_changed_but_all_is_checked) {
  TempFolder folder;
  const auto file = folder / "lora.safetensors";
  const int64_t dim = tiny_transformer().dim();
  std::map<std::string, at::Tensor> tensors;
  for (const char* block : {"1", "4"}) {
    tensors[fmt::format("blocks.{}.attn1.to_q.lora_A.weight", block)] = randn({2, dim}, 1);
    tensors[fmt::format("blocks.{}.attn1.to_q.lora_B.weight", block)] = randn({dim, 2}, 2);
  }
  tensors["blocks.4.attn1.to_q.lora_A.weight"].fill_(NAN);  // would be refused if it were read
  write_safetensors(file, tensors);
  const auto load = [&](LayerRange layers) {
    const auto weights = with_loras(tiny_weights(), {{file, 0.5}});
    Transformer(tiny_transformer(), *weights, {layers, false, false});
  };
  BOOST_CHECK_NO_THROW(load({0, 2}));
  expect_error({"blocks.4.attn1.to_q.lora_A.weight", "finite"}, [&] { load({3, 5}); });

  const auto merged = with_loras(tiny_weights(), {{file, 0.5}}), plain = tiny_weights();
  const char* name = "blocks.1.attn1.to_q.weight";
  const at::Tensor change =
      at::matmul(tensors["blocks.1.attn1.to_q.lora_B.weight"], tensors["blocks.1.attn1.to_q.lora_A.weight"]);
  BOOST_TEST(relative_error(merged->read(name, {dim, dim}), plain->read(name, {dim, dim}) + 0.5 * change) < 1e-6);
  BOOST_TEST(identical(merged->read("blocks.2.attn1.to_q.weight", {dim, dim}),
                       plain->read("blocks.2.attn1.to_q.weight", {dim, dim})));

  expect_error({"blocks.1.attn1.to_q.weight", "all that is added", "finite"}, [&] {
    with_loras(tiny_weights(), {{file, 1e39}})->read(name, {dim, dim});
  });
  auto with_alpha = tensors;
  with_alpha["blocks.1.attn1.to_q.alpha"] = at::full({}, NAN);
  write_safetensors(file, with_alpha);
  expect_error({"lora.safetensors", "alpha", "blocks.1.attn1.to_q"}, [&] { load({0, 2}); });

  tensors.erase("blocks.4.attn1.to_q.lora_A.weight");
  write_safetensors(file, tensors);
  expect_error({"blocks.4.attn1.to_q", "counterpart"}, [&] { load({0, 2}); });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
