// SPDX-License-Identifier: Apache-2.0
// The feature cache against a separate, plain forward of the block whose keys and values it keeps.
#include "dualparal/feature_cache.h"

#include "strategy/guidance.h"
#include "strategy/local_attention.h"
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

BOOST_DATA_TEST_CASE(keeps_what_a_separate_forward_computes, data::make({0, 2}) * data::make({1, 2, 3}), previous, context) {
  const c10::InferenceMode inference;
  LargeWeights weights;
  const Transformer model(kConfig, weights, {{0, kConfig.num_layers}, true, true});
  const Request request = ranks_request(previous + 3);
  const at::Tensor window = frame_noise(request, 0, previous + 3);
  const TokenGrid grid = model.grid(window.sizes());

  NotingAttention separate;
  forward(model, request, window, separate);
  FeatureCache cache(model.rotary());
  cache.begin_job(grid, previous, previous + context);
  forward(model, request, window, cache);

  BOOST_TEST(cache.layers().size() == static_cast<size_t>(kConfig.num_layers));
  for (const auto& [layer, kept] : cache.layers()) {
    const auto frames = [&](const at::Tensor& x) {
      return x.slice(1, previous * grid.frame_tokens(), (previous + context) * grid.frame_tokens());
    };
    BOOST_TEST(kept.key.equal(frames(separate.layers.at(layer).key)));
    BOOST_TEST(kept.value.equal(frames(separate.layers.at(layer).value)));
  }
  cache.clear();
  BOOST_TEST(cache.layers().empty());
}

BOOST_AUTO_TEST_CASE(keeps_nothing_when_nothing_is_asked_for) {
  const c10::InferenceMode inference;
  LargeWeights weights;
  const Transformer model(kConfig, weights, {{0, kConfig.num_layers}, true, true});
  const Request request = ranks_request(3);
  const at::Tensor window = frame_noise(request, 0, 3);
  FeatureCache cache(model.rotary());
  cache.begin_job(model.grid(window.sizes()), 0, 0);
  forward(model, request, window, cache);
  BOOST_TEST(cache.layers().empty());
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
