// SPDX-License-Identifier: Apache-2.0
#include "model/sampling/sampler.h"

#include "base/errors.h"
#include "tests/model/tiny.h"

namespace dualparal {
using namespace testing;

BOOST_AUTO_TEST_SUITE(sampler)

const SamplerKind kKinds[] = {SamplerKind::kUniPC, SamplerKind::kFlowEuler};

// A straight path from noise to data has one velocity, which any sampler must follow exactly.
BOOST_DATA_TEST_CASE(a_straight_path_is_followed, boost::unit_test::data::make({1, 2, 5, 20}), steps) {
  for (const SamplerKind kind : kKinds) {
    const SchedulerConfig config;
    const Schedule schedule = make_schedule(kind, config, steps);
    const auto sampler = make_sampler(kind, config, schedule);
    const at::Tensor data = at::randn({1, 2, 3}), noise = at::randn({1, 2, 3});
    at::Tensor x = data * (1 - schedule.sigmas[0]) + noise * schedule.sigmas[0];
    const at::Tensor start = x.clone();
    for (int64_t i = 0; i < schedule.steps(); ++i) {
      const at::Tensor before = x, copy = x.clone();
      x = sampler->step(noise - data, x);
      BOOST_TEST(at::equal(before, copy));  // the argument is left as it was
    }
    BOOST_TEST(relative_error(x, data) < 1e-4);
    BOOST_TEST(relative_error(start, data) > 0.1);
    BOOST_CHECK_THROW(sampler->step(data, x), Error);
  }
}

BOOST_AUTO_TEST_CASE(two_samplers_do_not_disturb_each_other) {
  const SchedulerConfig config;
  const Schedule schedule = make_schedule(SamplerKind::kUniPC, config, 6);
  const auto velocity = [](const at::Tensor& x) { return x.sin() * 0.5 + 0.1; };
  const at::Tensor a = at::randn({4}), b = at::randn({4});
  const auto alone = [&](at::Tensor x) {
    const auto sampler = make_sampler(SamplerKind::kUniPC, config, schedule);
    for (int i = 0; i < 6; ++i) x = sampler->step(velocity(x), x);
    return x;
  };
  const auto first = make_sampler(SamplerKind::kUniPC, config, schedule);
  const auto second = make_sampler(SamplerKind::kUniPC, config, schedule);
  at::Tensor x = a, y = b;
  for (int i = 0; i < 6; ++i) {
    x = first->step(velocity(x), x);
    if (i > 0) y = second->step(velocity(y), y);  // one step behind
  }
  y = second->step(velocity(y), y);
  BOOST_TEST(at::equal(x, alone(a)));
  BOOST_TEST(at::equal(y, alone(b)));
}

BOOST_AUTO_TEST_CASE(impossible_schedules_are_errors) {
  SchedulerConfig config;
  BOOST_CHECK_THROW(make_schedule(SamplerKind::kUniPC, config, 0), UsageError);
  BOOST_CHECK_THROW(make_schedule(SamplerKind::kUniPC, config, 1001), UsageError);
  config.flow_shift = 0;
  BOOST_CHECK_THROW(make_schedule(SamplerKind::kFlowEuler, config, 10), UsageError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal
