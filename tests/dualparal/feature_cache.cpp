// SPDX-License-Identifier: Apache-2.0
// The feature cache against a separate, plain forward of the block whose keys and values it keeps.
#include "dualparal/feature_cache.h"

#include "strategy/denoise/guidance.h"
#include "strategy/denoise/local_attention.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

const TransformerConfig kConfig = with_layers(4);

// Plain attention that notes what every layer was given.
struct NotingAttention final : SelfAttention {
  std::map<int64_t, FeatureCache::KeyValue> layers;
  LocalAttention plain;
  at::Tensor attend(const AttentionInput& input) override {
    layers[input.layer] = {input.key.clone(), input.value.clone()};
    return plain.attend(input);
  }
};

// The layers, over a window at one timestep.
void forward(const Transformer& model, const Request& request, const at::Tensor& window, SelfAttention& attention) {
  const auto time = model.time_conditioning(at::scalar_tensor(640.0).view({1}));
  at::Tensor hidden = model.embed(duplicate_for_guidance(request, window));
  model.forward_layers(model.parts().layers, hidden, time, model.text_context(guidance_batch(request)),
                       model.rotary().table(model.grid(window.sizes()), 0, at::kCPU), attention);
}

BOOST_AUTO_TEST_SUITE(feature_cache)

BOOST_DATA_TEST_CASE(keeps_what_a_separate_forward_computes, data::make({0, 2}) * data::make({1, 2, 3}), previous,
                     context) {
  const c10::InferenceMode inference;
  LargeWeights weights;
  const Transformer model(kConfig, weights, {{0, kConfig.num_layers}, true, true});
  const Request request = ranks_request(previous + 3);
  const at::Tensor window = frame_noise(request, 0, previous + 3);
  const TokenGrid grid = model.grid(window.sizes());

  NotingAttention separate;
  forward(model, request, window, separate);
  FeatureCache cache(model.rotary());
  cache.begin_job(
      {.grid = grid, .head = {previous, previous + context}, .tail = {previous + 3 - context, previous + 3}});
  forward(model, request, window, cache);

  const auto check_kept = [&](const FeatureCache::Layers& layers, int64_t first) {
    BOOST_TEST(layers.size() == static_cast<size_t>(kConfig.num_layers));
    for (const auto& [layer, kept] : layers) {
      const auto frames = [&](const at::Tensor& x) {
        return x.slice(1, first * grid.frame_tokens(), (first + context) * grid.frame_tokens());
      };
      BOOST_TEST(kept.key.equal(frames(separate.layers.at(layer).key)));
      BOOST_TEST(kept.value.equal(frames(separate.layers.at(layer).value)));
    }
  };
  check_kept(cache.heads(), previous);
  check_kept(cache.tails().at(0), previous + 3 - context);
  cache.clear();
  BOOST_TEST(cache.heads().empty());
  BOOST_TEST(cache.tails().size() == 1u);  // for the next iteration
}

BOOST_AUTO_TEST_CASE(keeps_nothing_when_nothing_is_asked_for) {
  const c10::InferenceMode inference;
  LargeWeights weights;
  const Transformer model(kConfig, weights, {{0, kConfig.num_layers}, true, true});
  const Request request = ranks_request(3);
  const at::Tensor window = frame_noise(request, 0, 3);
  FeatureCache cache(model.rotary());
  cache.begin_job({.grid = model.grid(window.sizes())});
  forward(model, request, window, cache);
  BOOST_TEST(cache.heads().empty());
  BOOST_TEST(cache.tails().empty());
}

BOOST_AUTO_TEST_CASE(what_is_kept_is_used_once_and_by_the_block_behind) {
  const c10::InferenceMode inference;
  LargeWeights weights;
  const Transformer model(kConfig, weights, {{0, kConfig.num_layers}, true, true});
  const Request request = ranks_request(3);
  const at::Tensor window = frame_noise(request, 0, 3);
  const TokenGrid grid = model.grid(window.sizes());
  FeatureCache cache(model.rotary());
  cache.begin_job({.grid = grid, .block = 4, .tail = {1, 3}});
  forward(model, request, window, cache);
  cache.begin_job({.grid = grid, .block = 5, .first_position = 2});
  forward(model, request, window, cache);
  BOOST_TEST(cache.tails().empty());
  for (const int64_t block : {5, 6})  // used already; nothing was ever kept
    expect_error<Error>({"block " + std::to_string(block), "layer 0", "2 last frames"}, [&] {
      cache.begin_job({.grid = grid, .block = block, .first_position = 2});
      forward(model, request, window, cache);
    });
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
