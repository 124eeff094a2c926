// SPDX-License-Identifier: Apache-2.0
// Caches in host memory against those on the device: the same bits, whenever the copies are made.
#include "dualparal/host_tails.h"

#include <deque>
#include <numeric>

#include "base/measure/memory.h"
#include "dualparal/block_plan.h"
#include "dualparal/cache_memory.h"
#include "dualparal/feature_cache.h"
#include "strategy/denoise/guidance.h"
#include "tests/dualparal/plain_loop.h"

namespace dualparal::testing {
namespace {

constexpr int64_t kContext = 2, kOwn = 3, kBlocks = 5, kSteps = 3, kTurns = 2;

// A rank with layers `held` of a model, through which every block goes once a step, twice each time; what comes out.
class Passes {
 public:
  Passes(const LayerRange& held, std::optional<HostCopies::Moment> host)
      : model_(config(), weights_, {held, false, false}), recorder_(at::kCPU) {
    std::vector<int64_t> layers(static_cast<size_t>(held.size()));
    std::iota(layers.begin(), layers.end(), held.begin);
    if (host) {
      copies_.emplace(recorder_, at::kCPU, *host);
      tails_.emplace(slots_, *copies_, kTurns, layers, (kOwn + 2 * kContext) * grid_.frame_tokens());
    }
    for (int64_t m = 0; m < kTurns; ++m) caches_.emplace_back(model_.rotary(), tails_ ? &*tails_ : nullptr, m);
  }

  std::vector<at::Tensor> all() {
    std::vector<at::Tensor> out;
    const auto order = make_queue(kBlocks, kSteps);
    for (size_t i = 0; i < order.size(); ++i)
      for (FeatureCache& cache : caches_) {
        if (i == 0 || order[i - 1].iteration != order[i].iteration) cache.clear();
        cache.begin_job(job(order, i));
        at::Tensor hidden = randn({2, kOwn * grid_.frame_tokens(), config().dim()}, 100 + out.size());
        model_.forward_layers(model_.parts().layers, hidden, model_.time_conditioning(at::full({1}, 640.0)),
                              model_.text_context(randn({2, 7, config().text_dim}, 1)),
                              model_.rotary().table(grid_, 0, at::kCPU), cache);
        out.push_back(hidden);
      }
    return out;
  }

  std::deque<FeatureCache>& caches() { return caches_; }
  Recorder& recorder() { return recorder_; }

  static const TransformerConfig& config() {
    static const TransformerConfig one = with_layers(4);
    return one;
  }

 private:
  FeatureCache::Job job(const QueueOrder& order, size_t i) const {
    const int64_t block = order[i].block;
    FeatureCache::Job job{.grid = grid_, .block = block, .first_position = block > 0 ? kContext : 0};
    if (block > 0 && order[i].age + 1 < kSteps) job.head = {0, kContext};
    if (block + 1 < kBlocks) job.tail = {kOwn - kContext, kOwn};
    if (i + 1 < order.size()) {
      job.next_block = order[i + 1].block;
      job.next_sees_tail = job.next_block > 0;
    }
    return job;
  }

  LargeWeights weights_;
  Transformer model_;
  TokenGrid grid_{kOwn, 2, 3};
  Recorder recorder_;
  HostSlots slots_{std::min(kBlocks - 1, kSteps) * kTurns * 4,
                   {2, kContext * 6, config().num_attention_heads, config().attention_head_dim},
                   at::kFloat,
                   at::kCPU};
  std::optional<HostCopies> copies_;
  std::optional<HostTails> tails_;
  std::deque<FeatureCache> caches_;
};

const Variant kCached[] = {{"on", "on", "matched_kv", 2, 13}, {"off", "off", "matched_kv", 3, 16}};

BOOST_AUTO_TEST_SUITE(host_tails)

// A stream may make a copy as soon as it is begun, or as late as it is waited for.
BOOST_DATA_TEST_CASE(the_same_bits_whenever_copies_are_made, data::make({0, 1}) * data::make({1, 4}), late, layers) {
  const c10::InferenceMode inference;
  const LayerRange held{4 - layers, 4};
  const auto expected = Passes(held, {}).all();
  const auto actual = Passes(held, late ? HostCopies::Moment::kWait : HostCopies::Moment::kBegin).all();
  BOOST_TEST(actual.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) BOOST_TEST(identical(actual[i], expected[i]));
}

BOOST_AUTO_TEST_CASE(each_tail_goes_to_the_host_once_and_comes_back_ahead_of_its_layer) {
  const c10::InferenceMode inference;
  Passes passes({0, 4}, HostCopies::Moment::kBegin);
  const auto host_before = host_memory_usage().allocated_bytes;
  passes.all();
  BOOST_TEST(host_memory_usage().allocated_bytes == host_before);
  std::map<Event::Kind, int64_t> counts, bytes;
  for (const Event& event : passes.recorder().events()) {
    ++counts[event.kind];
    bytes[event.kind] += event.bytes;
  }
  const int64_t tails = (kBlocks - 1) * kSteps * kTurns * 4;
  BOOST_TEST(counts[Event::Kind::kToHost] == tails);
  BOOST_TEST(counts[Event::Kind::kFromHost] == tails);
  BOOST_TEST(bytes[Event::Kind::kFromHost] == bytes[Event::Kind::kToHost]);
  const auto& config = Passes::config();
  BOOST_TEST(bytes[Event::Kind::kToHost] == tails * 2 * 2 * kContext * 6 * config.dim() * 4);
  for (FeatureCache& cache : passes.caches())
    for (const auto& [block, layers] : cache.tails()) BOOST_TEST(layers.empty());
}

BOOST_AUTO_TEST_CASE(what_was_not_kept_is_an_error_that_says_what) {
  const c10::InferenceMode inference;
  Passes passes({0, 4}, HostCopies::Moment::kBegin);
  LargeWeights weights;
  const Transformer model(Passes::config(), weights, {{0, 4}, false, false});
  FeatureCache& cache = passes.caches()[0];
  cache.begin_job({.grid = {kOwn, 2, 3}, .block = 5, .first_position = kContext});
  at::Tensor hidden = randn({2, kOwn * 6, Passes::config().dim()}, 3);
  expect_error<Error>({"block 5", "layer 0", "last frames", "not kept"}, [&] {
    model.forward_layers({0, 4}, hidden, model.time_conditioning(at::full({1}, 640.0)),
                         model.text_context(randn({2, 7, Passes::config().text_dim}, 1)),
                         model.rotary().table({kOwn, 2, 3}, 0, at::kCPU), cache);
  });
}

BOOST_DATA_TEST_CASE(the_same_latents_on_ranks, data::make(kCached) * data::make({1, 2, 3, 4}), variant, ranks) {
  const Request request = ranks_request(variant.frames);
  auto options = options_of(variant, ranks == 3 ? "2" : "1");
  const at::Tensor device = denoise_on_ranks(dualparal_strategy(), options, request, ranks, kConfig);
  options["cache-memory"] = "host";
  BOOST_TEST(identical(denoise_on_ranks(dualparal_strategy(), options, request, ranks, kConfig), device));
}

BOOST_DATA_TEST_CASE(the_same_latents_in_groups_and_within_layers,
                     data::make({"sequence-degree", "guidance-parallel", "partition"}) ^
                         data::make({"2", "on", "2:self:0.35,2:ffn,6:cross:0.5"}),
                     option, value) {
  const Request request = ranks_request(kCached[0].frames);
  auto options = options_of(kCached[0]);
  options[option] = value;
  const at::Tensor device = denoise_on_ranks(dualparal_strategy(), options, request, 4, kConfig);
  options["cache-memory"] = "host";
  BOOST_TEST(identical(denoise_on_ranks(dualparal_strategy(), options, request, 4, kConfig), device));
}

BOOST_AUTO_TEST_CASE(other_caches_have_no_place_to_choose) {
  const auto entry = dualparal_strategy();
  expect_error<UsageError>({"--cache-memory host", "--previous-context matched_kv"}, [&] {
    entry.make(resolve_options("dualparal", entry.options, {{"cache-memory", "host"}}));
  });
}

BOOST_AUTO_TEST_CASE(auto_is_the_device_where_it_does_not_say_what_is_free) {
  const TailsKept tails{.count = 3, .shape = {2, 6, 4, 8}, .dtype = at::kBFloat16};
  BOOST_TEST(tails.bytes() == 2 * 3 * 2 * 6 * 4 * 8 * 2);
  BOOST_TEST(!in_host_memory(CacheMemory::kAuto, tails, 1, at::kCPU));
  BOOST_TEST(in_host_memory(CacheMemory::kHost, tails, 1, at::kCPU));
  BOOST_TEST(!in_host_memory(CacheMemory::kDevice, tails, 1, at::kCPU));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace
}  // namespace dualparal::testing
