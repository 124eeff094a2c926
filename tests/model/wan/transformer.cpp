// SPDX-License-Identifier: Apache-2.0
#include "model/wan/transformer.h"

#include "base/errors.h"
#include "strategy/denoise/local_attention.h"
#include "tests/model/tiny.h"

namespace dualparal {
namespace {

using namespace testing;

struct Inputs {
  at::Tensor latents = at::randn({2, 16, 3, 4, 6});
  at::Tensor text = at::randn({2, 7, 24});
};

at::Tensor predict(const std::vector<Transformer*>& stages, const Inputs& in, const at::Tensor& timesteps) {
  const TokenGrid grid = stages[0]->grid(in.latents.sizes());
  const RotaryTable rotary = stages[0]->rotary().table(grid, 0, at::kCPU);
  LocalAttention attention;
  at::Tensor hidden = stages.front()->embed(in.latents);
  for (const Transformer* stage : stages) {
    const auto time = stage->time_conditioning(timesteps);
    stage->forward_layers(stage->parts().layers, hidden, time, stage->text_context(in.text), rotary, attention);
  }
  return stages.back()->head(hidden, stages.back()->time_conditioning(timesteps), grid);
}

std::unique_ptr<Transformer> load(LayerRange layers, bool embed, bool head) {
  return std::make_unique<Transformer>(tiny_transformer(), *tiny_weights(), TransformerParts{layers, embed, head});
}

}  // namespace

BOOST_AUTO_TEST_SUITE(transformer)

BOOST_AUTO_TEST_CASE(layers_run_apart_as_they_run_together) {
  const Inputs in;
  const auto whole = load({0, 5}, true, true);
  const auto expected = predict({whole.get()}, in, at::full({1}, 300.0));
  BOOST_TEST(expected.sizes() == in.latents.sizes());
  for (const int64_t cut : {0, 1, 3, 5}) {
    const auto first = load({0, cut}, true, false), second = load({cut, 5}, false, true);
    BOOST_TEST(at::equal(predict({first.get(), second.get()}, in, at::full({1}, 300.0)), expected));
    BOOST_TEST(first->weights_bytes() < whole->weights_bytes());
  }
}

// Between any two parts, and within each: the second stage goes on where the first left off, with the weights of its
// parts alone.
BOOST_DATA_TEST_CASE(layers_run_apart_at_any_part,
                     boost::unit_test::data::make({0, 1, 2}) * boost::unit_test::data::make({0, 1, 400, 999}) *
                         boost::unit_test::data::make({1, 3}),
                     part, permille, groups) {
  const Inputs in;
  const auto whole = load({0, 5}, true, true);
  const at::Tensor timesteps = at::tensor({300.0, 0.0, 700.0}).slice(0, 0, groups);
  const auto expected = predict({whole.get()}, in, timesteps);
  const LayerPosition begin, cut{2, {part, permille}}, end{5, {}};
  const auto first = load(LayerRange::between(begin, cut), true, false);
  const auto second = load(LayerRange::between(cut, end), false, true);
  BOOST_TEST(relative_error(predict({first.get(), second.get()}, in, timesteps), expected) < 1e-5);
  const LayerPosition later{2, {part, permille + (permille < 999 ? 500 : 0)}};
  if (later.cut.permille < 1000 && cut < later) {  // a stage that has only some tokens of one part
    const auto middle = load(LayerRange::between(cut, later), false, false);
    const auto last = load(LayerRange::between(later, end), false, true);
    BOOST_TEST(relative_error(predict({first.get(), middle.get(), last.get()}, in, timesteps), expected) < 1e-5);
  }
  const int64_t both = first->weights_bytes() + second->weights_bytes(),
                shared = load({0, 0}, false, false)->weights_bytes();
  // A part that both have is held twice, one that neither shares once.
  if (permille == 0)
    BOOST_TEST(std::abs(both - shared - whole->weights_bytes()) <= 6 * 60 * 4);  // a layer's table of shifts and scales
  else
    BOOST_TEST(both - shared > whole->weights_bytes());
}

BOOST_AUTO_TEST_CASE(every_input_matters) {
  const auto model = load({0, 5}, true, true);
  const Inputs in;
  Inputs other = in;
  const auto base = predict({model.get()}, in, at::full({1}, 300.0));
  BOOST_TEST(relative_error(predict({model.get()}, in, at::full({1}, 400.0)), base) > 1e-6);
  other.text = in.text + 1;
  BOOST_TEST(relative_error(predict({model.get()}, other, at::full({1}, 300.0)), base) > 1e-6);
}

BOOST_AUTO_TEST_CASE(equal_timesteps_per_frame_are_one_timestep) {
  const auto model = load({0, 5}, true, true);
  const Inputs in;
  const auto one = predict({model.get()}, in, at::full({1}, 300.0));
  BOOST_TEST(relative_error(predict({model.get()}, in, at::full({3}, 300.0)), one) < 1e-5);
}

BOOST_AUTO_TEST_CASE(parts_not_held_are_errors) {
  const auto middle = load({1, 3}, false, false);
  const Inputs in;
  BOOST_CHECK_THROW(middle->embed(in.latents), Error);
  at::Tensor hidden = at::randn({1, 18, 60});
  const RotaryTable rotary = middle->rotary().table({3, 2, 3}, 0, at::kCPU);
  LocalAttention attention;
  const auto time = middle->time_conditioning(at::full({1}, 300.0));
  BOOST_CHECK_THROW(middle->forward_layers({0, 3}, hidden, time, middle->text_context(in.text), rotary, attention),
                    Error);
  BOOST_CHECK_THROW(middle->head(hidden, time, {3, 2, 3}), Error);
  BOOST_CHECK_THROW(load({2, 6}, true, true), Error);
  BOOST_CHECK_THROW(middle->grid({1, 16, 3, 5, 6}), Error);
  BOOST_CHECK_THROW(middle->text_context(at::randn({1, 7, 25})), Error);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal
