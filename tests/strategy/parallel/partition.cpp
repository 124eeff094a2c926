// SPDX-License-Identifier: Apache-2.0
#include "strategy/parallel/partition.h"

#include "tests/model/tiny.h"

namespace dualparal::testing {

BOOST_AUTO_TEST_SUITE(partition_of_layers)

BOOST_DATA_TEST_CASE(every_layer_once_and_as_even_as_can_be,
                     data::make({1, 5, 8, 9, 30, 40}) * data::make({1, 2, 3, 4, 8}), layers, ranks) {
  auto config = tiny_transformer();
  config.num_layers = layers;
  if (ranks > layers) return expect_error<UsageError>({"cannot be split"}, [&] { partition(config, ranks); });
  const auto parts = partition(config, ranks);
  BOOST_TEST(parts.size() == static_cast<size_t>(ranks));
  int64_t next = 0;
  for (int64_t stage = 0; stage < ranks; ++stage) {
    BOOST_TEST(parts[stage].layers.begin == next);
    next = parts[stage].layers.end;
    BOOST_TEST(parts[stage].layers.size() >= layers / ranks);
    BOOST_TEST(parts[stage].layers.size() <= (layers + ranks - 1) / ranks);
    BOOST_TEST(parts[stage].embed == (stage == 0));
    BOOST_TEST(parts[stage].head == (stage == ranks - 1));
  }
  BOOST_TEST(next == layers);
  // Embedding and head cost something: where layers do not divide, both ends have no more than the middle.
  if (ranks > 2 && layers % ranks != 0 && layers % ranks <= ranks - 2) {
    BOOST_TEST(parts.front().layers.size() == layers / ranks);
    BOOST_TEST(parts.back().layers.size() == layers / ranks);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal::testing
