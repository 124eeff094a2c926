// SPDX-License-Identifier: Apache-2.0
#include "model/wan/text_encoder.h"

#include <cmath>

#include "tests/model/tiny.h"

namespace dualparal::testing {
namespace {

TextEncoderConfig tiny_text_encoder() {
  TextEncoderConfig config;
  config.d_model = 24;
  config.d_kv = 10;
  config.d_ff = 34;
  config.num_layers = 2;
  config.num_heads = 3;
  config.vocab_size = 50;
  config.relative_attention_num_buckets = 8;
  config.relative_attention_max_distance = 20;
  return config;
}

const std::vector<int64_t> kIds = {4, 49, 0, 17, 4, 1};

TextEncoder tiny() {
  LargeWeights weights;
  return {tiny_text_encoder(), weights};
}

// The encoder's formula, written out number by number in fp64 (T5 with gated GELU, as its paper has it).
struct Plain {
  TextEncoderConfig config = tiny_text_encoder();
  LargeWeights weights;

  at::Tensor weight(const std::string& name, at::IntArrayRef shape) {
    return weights.read(name, shape).to(at::kDouble);
  }
  at::Tensor norm(const at::Tensor& x, const std::string& name) {
    return x / (x.square().mean(-1, true) + config.layer_norm_epsilon).sqrt() * weight(name, {config.d_model});
  }
  // 8 buckets: half for each direction; distances 0 and 1 of their own, then up to 20 in two steps of the logarithm.
  static int64_t bucket(int64_t key_minus_query) {
    const int64_t distance = std::abs(key_minus_query);
    const int64_t far =
        distance < std::sqrt(2.0 * 20) ? 2 : 3;  // the middle between 2 and 20, on the logarithm's scale
    return (distance < 2 ? distance : far) + (key_minus_query > 0 ? 4 : 0);
  }
  at::Tensor encode(const std::vector<int64_t>& ids) {
    const auto tokens = static_cast<int64_t>(ids.size());
    const int64_t inner = config.num_heads * config.d_kv;
    at::Tensor x = weight("shared.weight", {config.vocab_size, config.d_model}).index_select(0, at::tensor(ids));
    for (int64_t i = 0; i < config.num_layers; ++i) {
      const std::string block = "encoder.block." + std::to_string(i) + ".", self = block + "layer.0.SelfAttention.";
      const std::string dense = block + "layer.1.DenseReluDense.";
      const at::Tensor normed = norm(x, block + "layer.0.layer_norm.weight");
      const auto project = [&](const std::string& name) {
        return normed.matmul(weight(self + name, {inner, config.d_model}).t());
      };
      const at::Tensor q = project("q.weight"), k = project("k.weight"), v = project("v.weight");
      const at::Tensor bias = weight(self + "relative_attention_bias.weight", {8, config.num_heads});
      std::vector<at::Tensor> heads;
      for (int64_t head = 0; head < config.num_heads; ++head) {
        const auto part = [&](const at::Tensor& t) { return t.narrow(1, head * config.d_kv, config.d_kv); };
        at::Tensor scores = part(q).matmul(part(k).t());
        for (int64_t query = 0; query < tokens; ++query)
          for (int64_t key = 0; key < tokens; ++key) scores[query][key] += bias[bucket(key - query)][head];
        heads.push_back(scores.softmax(-1).matmul(part(v)));
      }
      x = x + at::cat(heads, 1).matmul(weight(self + "o.weight", {config.d_model, inner}).t());
      const at::Tensor wide = norm(x, block + "layer.1.layer_norm.weight");
      const at::Tensor gate =
          at::gelu(wide.matmul(weight(dense + "wi_0.weight", {config.d_ff, config.d_model}).t()), "tanh");
      const at::Tensor up = wide.matmul(weight(dense + "wi_1.weight", {config.d_ff, config.d_model}).t());
      x = x + (gate * up).matmul(weight(dense + "wo.weight", {config.d_model, config.d_ff}).t());
    }
    return norm(x, "encoder.final_layer_norm.weight");
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(model_text_encoder)

BOOST_AUTO_TEST_CASE(the_formula_holds) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 30; ++i) ids.push_back(i * 7 % 50);  // far enough apart for every bucket
  BOOST_TEST(relative_error(tiny().encode(ids, 30)[0], Plain().encode(ids)) < 1e-4);
}

BOOST_DATA_TEST_CASE(after_the_prompt_there_are_zeros, data::make({6, 7, 40}), length) {
  const at::Tensor embeds = tiny().encode(kIds, length);
  BOOST_TEST(embeds.sizes() == at::IntArrayRef({1, length, 24}));
  BOOST_TEST(at::equal(embeds.slice(1, 6), at::zeros({1, length - 6, 24})));
  for (int64_t token = 0; token < 6; ++token) BOOST_TEST(embeds[0][token].abs().max().item<double>() > 0.01);
}

BOOST_AUTO_TEST_CASE(padding_changes_nothing) {
  const TextEncoder encoder = tiny();
  const at::Tensor bare = encoder.encode(kIds, 6);
  for (const int64_t length : {7, 13, 512}) BOOST_TEST(identical(encoder.encode(kIds, length).slice(1, 0, 6), bare));
}

BOOST_AUTO_TEST_CASE(every_token_sees_every_other_and_where_it_is) {
  const TextEncoder encoder = tiny();
  const at::Tensor base = encoder.encode(kIds, 6);
  for (size_t changed = 0; changed < kIds.size(); ++changed) {
    auto ids = kIds;
    ids[changed] = 23;
    const at::Tensor other = encoder.encode(ids, 6);
    for (int64_t token = 0; token < 6; ++token) BOOST_TEST(relative_error(other[0][token], base[0][token]) > 1e-5);
  }
  BOOST_TEST(!at::equal(base[0][0], base[0][4]));  // the same word in two places
}

BOOST_AUTO_TEST_CASE(narrow_weights_give_narrow_embeddings) {
  LargeWeights narrow(at::kBFloat16), wide;
  const TextEncoder in_bf16(tiny_text_encoder(), narrow), in_fp32(tiny_text_encoder(), wide);
  const at::Tensor embeds = in_bf16.encode(kIds, 8);
  BOOST_TEST((embeds.scalar_type() == at::kBFloat16));
  BOOST_TEST(relative_error(embeds, in_fp32.encode(kIds, 8)) < 0.05);
  BOOST_TEST(2 * in_bf16.weights_bytes() == in_fp32.weights_bytes());
}

BOOST_AUTO_TEST_CASE(impossible_tokens_are_refused) {
  const TextEncoder encoder = tiny();
  expect_error({"6 tokens", "at most 5"}, [&] { encoder.encode(kIds, 5); });
  expect_error({"token 50", "vocabulary of 50"}, [&] { encoder.encode({3, 50, 1}, 8); });
  expect_error({"token -1", "vocabulary of 50"}, [&] { encoder.encode({-1}, 8); });
}

BOOST_AUTO_TEST_CASE(an_embedding_under_two_names_is_read_once) {
  class Stored final : public WeightSource {
   public:
    Stored() : WeightSource({}) {}
    void read_into(const std::string&, at::Tensor target) override { target.zero_(); }
    void skip(const std::string& name, at::IntArrayRef shape) override { skipped.emplace_back(name, shape.vec()); }
    bool contains(const std::string& name) const override { return name == "encoder.embed_tokens.weight"; }
    void refuse_surplus() const override {}
    std::vector<std::pair<std::string, std::vector<int64_t>>> skipped;
  } weights;
  const TextEncoder encoder(tiny_text_encoder(), weights);
  BOOST_TEST(weights.skipped.size() == 1u);
  BOOST_TEST(weights.skipped.at(0).first == "encoder.embed_tokens.weight");
  BOOST_TEST((weights.skipped.at(0).second == std::vector<int64_t>{50, 24}));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
