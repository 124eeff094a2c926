// SPDX-License-Identifier: Apache-2.0
// Idle slots counted from dependencies, held against the closed forms.
#include "strategy/parallel/slots.h"

#include "baselines/naive_pipeline.h"
#include "baselines/pipefusion.h"
#include "dualparal/dualparal.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

SlotCount slots_of(const StrategyEntry& entry, const OptionValues& given, int64_t frames, int64_t steps,
                   int64_t ranks) {
  return *plan_of(entry, given, ranks_request(frames, steps), ranks, with_layers(ranks)).slots;
}

BOOST_AUTO_TEST_SUITE(slots)

BOOST_AUTO_TEST_CASE(one_rank_never_waits) {
  BOOST_TEST(slots_of(naive_pipeline_strategy(), {}, 9, 6, 1).idle == 0);
  BOOST_TEST(slots_of(dualparal_strategy(), {}, 80, 6, 1).idle == 0);
}

BOOST_DATA_TEST_CASE(naive_pipeline_waits_for_all_other_stages, data::make({2, 4, 8}), ranks) {
  const SlotCount count = slots_of(naive_pipeline_strategy(), {}, 9, 10, ranks);
  BOOST_TEST(count.work == 10 * ranks);
  BOOST_TEST(count.idle == ranks * (ranks - 1) * 9);
}

BOOST_AUTO_TEST_CASE(micro_batches_fill_one_slot_of_the_naive_pipeline) {
  const SlotCount count = slots_of(naive_pipeline_strategy(), {{"guidance-micro-batches", "2"}}, 9, 10, 2);
  BOOST_TEST(count.work == 40);
  BOOST_TEST(count.idle == 2 * 9);
}

// B >= N + 2 blocks of 8 latent frames; idle slots of one rank between its first and last work.
BOOST_DATA_TEST_CASE(dualparal_waits_while_the_queue_is_short, data::make({2, 3, 4, 8}), ranks) {
  for (const int64_t blocks : {ranks + 2, ranks + 5}) {
    const int64_t frames = 8 * blocks + 4;
    const SlotCount synchronous = slots_of(dualparal_strategy(), {}, frames, 20, ranks);
    BOOST_TEST(synchronous.work == 20 * blocks * ranks);
    BOOST_TEST(synchronous.idle == ranks * (ranks * ranks - ranks));
    for (const char* previous : {"matched", "matched_kv"}) {
      const SlotCount matched = slots_of(dualparal_strategy(), {{"previous-context", previous}}, frames, 20, ranks);
      BOOST_TEST(matched.idle == ranks * (ranks - 1) * (ranks - 2));
    }
  }
}

// A slot is one half of a block here, and half as long.
BOOST_AUTO_TEST_CASE(micro_batches_fill_the_gaps) {
  const OptionValues options{{"previous-context", "matched_kv"}, {"guidance-micro-batches", "2"}};
  for (const auto& [ranks, halves] : {std::pair<int64_t, int64_t>{2, 0}, {4, 2}, {8, 18}})
    BOOST_TEST(slots_of(dualparal_strategy(), options, 8 * (ranks + 5) + 4, 20, ranks).idle == ranks * halves);
}

// A slot is a patch here; the first step's takes as many as there are patches. Behind it every stage waits for all that
// follow it, and for its turn; later only if there are fewer patches than stages.
BOOST_DATA_TEST_CASE(pipefusion_waits_after_its_synchronous_step, data::make({1, 2, 4, 8}) * data::make({2, 4, 8, 11}),
                     ranks, patches) {
  constexpr int64_t kSteps = 10;
  const SlotCount count = slots_of(pipefusion_strategy(), {{"patches", std::to_string(patches)}}, 22, kSteps, ranks);
  BOOST_TEST(count.work == kSteps * patches * ranks);
  const int64_t later = (kSteps - 2) * std::max(0, ranks - patches);  // of every stage
  BOOST_TEST(count.idle == (patches + 1) * ranks * (ranks - 1) / 2 + ranks * later);
}

BOOST_AUTO_TEST_CASE(more_blocks_make_the_pipeline_fuller) {
  double before = 1;
  for (const int64_t frames : {12, 20, 36, 68, 132}) {
    const double ratio = slots_of(dualparal_strategy(), {}, frames, 20, 4).bubble_ratio();
    BOOST_TEST(ratio < before);
    before = ratio;
  }
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
