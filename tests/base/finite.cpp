// SPDX-License-Identifier: Apache-2.0
#include "base/finite.h"

#include <cmath>

#include "tests/testing.h"

namespace dualparal::testing {

BOOST_AUTO_TEST_SUITE(base_finite)

BOOST_DATA_TEST_CASE(one_wrong_number_is_found_and_named,
                     data::make({at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) *
                         data::make({static_cast<double>(NAN), HUGE_VAL, -HUGE_VAL}),
                     dtype, wrong) {
  at::Tensor numbers = at::ones({3, 700, 1000}, dtype);
  BOOST_TEST(all_finite(numbers));
  BOOST_CHECK_NO_THROW(check_finite(numbers, "x"));
  numbers[2][699][7] = wrong;
  numbers[2][699][8] = wrong;
  BOOST_TEST(!all_finite(numbers));
  expect_error({"file.safetensors: tensor 'a'", fmt::format("{} at [2, 699, 7]", wrong)},
               [&] { check_finite(numbers, "file.safetensors: tensor 'a'"); });
  BOOST_TEST(!all_finite(numbers.transpose(0, 2)));
}

BOOST_AUTO_TEST_CASE(large_numbers_whose_sum_overflows_are_finite) {
  BOOST_TEST(all_finite(at::full({1000}, 3e38, at::kFloat)));
  BOOST_TEST(all_finite(at::full({1000}, 60000, at::kHalf)));
}

BOOST_AUTO_TEST_CASE(no_numbers_are_finite) {
  BOOST_TEST(all_finite(at::empty({0, 3})));
  BOOST_TEST(all_finite(at::ones({3}, at::kLong)));
  BOOST_TEST(all_finite(at::empty({3}, at::TensorOptions().device(at::kMeta))));
  BOOST_TEST(!all_finite(at::scalar_tensor(NAN)));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace dualparal::testing
