// SPDX-License-Identifier: Apache-2.0
#include "strategy/denoise/number_watch.h"

#include <cmath>

#include "harness/options/strategies.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const auto& entry : strategies()) names.push_back(entry.name);
  return names;
}

BOOST_AUTO_TEST_SUITE(strategy_number_watch)

BOOST_DATA_TEST_CASE(the_first_prediction_that_is_not_finite_is_named, data::make({static_cast<double>(NAN), HUGE_VAL}),
                     wrong) {
  Recorder recorder(at::kCPU);
  const NumberWatch watch(recorder, at::kCPU, " (a hint)");
  at::Tensor prediction = randn({1, 4, 2, 3, 5}, 1);
  const auto show = [&](int64_t block, int64_t step) {
    const auto span = recorder.compute({block, step, 0, 3});
    NumberWatch::show(prediction);
  };
  for (int64_t step = 0; step < 3000; ++step) show(1, step);  // more than are kept in one tensor
  BOOST_CHECK_NO_THROW(watch.check());
  prediction[0][3][1][2][4] = wrong;
  expect_error({"block 2, step 7", "not finite", "a hint"}, [&] { show(2, 7); });
  expect_error({"block 2, step 8"}, [&] { show(2, 8); });
  expect_error({"block 2, step 7", "not finite", "a hint"}, [&] { watch.check(); });  // as it is asked on a GPU
  std::thread([&] { NumberWatch::show(prediction); }).join();                         // nobody watches there
}

// A strategy whose predictions nobody watches would give a video of NaN.
BOOST_DATA_TEST_CASE(every_strategy_shows_its_predictions, data::make(names()), name) {
  const c10::InferenceMode inference;
  Request request = ranks_request(14, 3);
  const auto entry = find_strategy(name);
  const auto denoise = [&] {
    const auto strategy = entry.make(resolve_options(name, entry.options, {}));
    LargeWeights weights;
    const StrategyPlan plan = strategy->plan(workload(request, with_layers(5), 4, 1));
    const Transformer transformer(with_layers(5), weights, plan.parts.at(0));
    Recorder recorder(at::kCPU);
    const auto comm = lone_communicator();
    CollectingSink sink;
    const NumberWatch watch(recorder, at::kCPU, "");
    strategy->denoise({request, transformer, *comm, recorder, sink});
    watch.check();
  };
  BOOST_CHECK_NO_THROW(denoise());
  request.prompt_embeds[0][3][5] = NAN;
  expect_error({"not finite", "step 0"}, denoise);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
