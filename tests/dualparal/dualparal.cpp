// SPDX-License-Identifier: Apache-2.0
// DualParal against itself on other numbers of ranks, against `single`, and against a plain loop without queue, ranks
// or cache objects.
#include "dualparal/dualparal.h"

#include "baselines/single.h"
#include "dualparal/block_queue.h"
#include "model/ops/ops.h"
#include "strategy/denoise/guidance.h"
#include "tests/ranks.h"

namespace dualparal::testing {
namespace {

constexpr int64_t kLayers = 9;  // divides by neither 2, 4 nor 8
const TransformerConfig kConfig = with_layers(kLayers);

struct Variant {
  const char *cache, *noise, *previous;
  int64_t context, frames;  // block-frames is 3: the last block is shorter, or there is one block
  const char* boundary = "recompute";
};
std::ostream& operator<<(std::ostream& out, const Variant& v) {
  return out << "cache " << v.cache << ", noise " << v.noise << ", " << v.previous << ", context " << v.context << ", "
             << v.frames << " frames, boundary " << v.boundary;
}
const Variant kVariants[] = {
    {"on", "on", "synchronous", 2, 13}, {"on", "off", "matched", 2, 13},   {"off", "on", "synchronous", 2, 13},
    {"off", "off", "matched", 3, 16},   {"on", "on", "synchronous", 0, 7}, {"on", "on", "synchronous", 3, 25},
    {"on", "on", "matched", 1, 1},      {"on", "on", "matched_kv", 2, 13}, {"off", "off", "matched_kv", 3, 16},
    {"on", "off", "matched_kv", 3, 25}, {"on", "on", "matched_kv", 0, 7},
};

OptionValues options_of(const Variant& v, const std::string& micro_batches = "1") {
  return {{"block-frames", "3"},
          {"context-frames", std::to_string(v.context)},
          {"feature-cache", v.cache},
          {"noise-sharing", v.noise},
          {"previous-context", v.previous},
          {"boundary-cache", v.boundary},
          {"guidance-micro-batches", micro_batches}};
}

// Of models of two experts.
const Variant kExpertVariants[] = {
    {"on", "on", "synchronous", 2, 13},
    {"on", "on", "synchronous", 2, 13, "none"},
    {"on", "on", "synchronous", 2, 13, "mixed"},
    {"off", "on", "synchronous", 2, 13},
    {"on", "off", "matched_kv", 2, 13, "recompute"},
    {"on", "on", "matched", 3, 16, "recompute"},
};

// Plain attention that can see further keys and values before and behind the window, and remembers all of its own.
struct RememberingAttention final : SelfAttention {
  struct Memory {
    std::map<int64_t, at::Tensor> keys, values;  // by layer, [batch, tokens, heads, head_dim]
  };
  const Transformer& model;
  TokenGrid grid;
  Memory own;
  const Memory* further = nullptr;  // of the next block
  int64_t begin = 0, count = 0;     // its frames that are seen
  const Memory* former = nullptr;   // of the previous block
  int64_t last = 0;                 // its last frames that are seen

  RememberingAttention(const Transformer& transformer, TokenGrid tokens) : model(transformer), grid(tokens) {}

  at::Tensor attend(const AttentionInput& input) override {
    own.keys[input.layer] = input.key.clone();
    own.values[input.layer] = input.value.clone();
    at::Tensor query = input.query.clone(), key = input.key.clone(), value = input.value;
    if (further && count > 0) {
      const int64_t tokens = grid.frame_tokens();
      const auto frames = [&](const at::Tensor& x) { return x.slice(1, begin * tokens, (begin + count) * tokens); };
      key = at::cat({key, frames(further->keys.at(input.layer))}, 1);
      value = at::cat({value, frames(further->values.at(input.layer))}, 1);
    }
    const int64_t before = former ? last * grid.frame_tokens() : 0;
    if (before > 0) {
      key = at::cat({former->keys.at(input.layer).slice(1, -before), key}, 1);
      value = at::cat({former->values.at(input.layer).slice(1, -before), value}, 1);
    }
    const RotaryTable table =
        model.rotary().table({key.size(1) / grid.frame_tokens(), grid.height, grid.width}, 0, at::kCPU);
    norm_rotary(query, input.query_norm, table.cut(before, before + query.size(1)), query);
    norm_rotary(key, input.key_norm, table, key);
    const at::Tensor weights =
        at::softmax(at::einsum("bqhd,bkhd->bhqk", {query, key}) / std::sqrt(double(query.size(-1))), -1);
    return at::einsum("bhqk,bkhd->bqhd", {weights, value});
  }
};

// All blocks, written down from the paper: every iteration takes every block one step, the last first.
at::Tensor plain_loop(const Request& request, const Variant& v, const at::Tensor& noise) {
  auto config = tiny_transformer();
  config.num_layers = kLayers;
  LargeWeights weights;
  LargeWeights others = second_weights();
  const Transformer experts[] = {{config, weights, {{0, kLayers}, true, true}},
                                 {config, others, {{0, kLayers}, true, true}}};
  const TextContext texts[] = {experts[0].text_context(guidance_batch(request)),
                               experts[1].text_context(guidance_batch(request))};
  const Schedule schedule = make_schedule(request.sampler, request.scheduler, request.num_inference_steps);
  const int64_t steps = schedule.steps(), c = v.context, total = request.latent_frames;

  std::vector<at::Tensor> latents;  // of every block, newest
  for (int64_t begin = 0; begin < total;) {
    const int64_t end = std::min(total, begin + 3 + (begin == 0 ? c : 0));
    latents.push_back(noise.slice(2, begin, end));
    begin = end;
  }
  const auto blocks = static_cast<int64_t>(latents.size());
  std::vector<std::unique_ptr<Sampler>> samplers;
  for (int64_t i = 0; i < blocks; ++i) samplers.push_back(make_sampler(request.sampler, request.scheduler, schedule));

  std::vector<at::Tensor> one_update_ago = latents;             // of every block, before its latest update
  std::vector<RememberingAttention::Memory> last_pass(blocks);  // of every block's own frames, in its latest iteration
  for (int64_t iteration = 0; iteration < steps + blocks - 1; ++iteration) {
    const auto at_start = latents;
    const auto passed = last_pass;
    std::optional<RememberingAttention::Memory> next_memory;
    int64_t next_previous = 0;
    for (int64_t i = std::min(iteration, blocks - 1); i >= 0; --i) {
      const int64_t age = iteration - i;
      if (age >= steps) break;
      const auto second = [&](int64_t step) { return schedule.timesteps[step] < request.boundary_timestep; };
      const Transformer& model = experts[second(age)];
      const bool crosses = age > 0 && second(age) != second(age - 1);
      const std::string boundary = v.boundary;
      std::vector<at::Tensor> window;
      int64_t previous = 0;
      const bool by_keys = v.previous == std::string("matched_kv");
      if (i > 0 && c > 0 && !by_keys) {
        const at::Tensor& before = v.previous == std::string("matched") ? one_update_ago[i - 1] : at_start[i - 1];
        window.push_back(before.slice(2, before.size(2) - c));
        previous = c;
      }
      window.push_back(at_start[i]);
      const bool has_next = i + 1 < blocks && i + 1 <= iteration;
      const int64_t seen = has_next ? std::min(c, at_start[i + 1].size(2)) : 0;
      const bool on = v.cache == std::string("on");
      const bool cached = on && (!crosses || boundary == "mixed");
      const bool recomputed = !on || (crosses && boundary == "recompute");
      if (recomputed && seen > 0) window.push_back(at_start[i + 1].slice(2, 0, seen));
      const at::Tensor input = at::cat(window, 2);
      const TokenGrid grid = model.grid(input.sizes());
      RememberingAttention attention(model, grid);
      if (cached && seen > 0) {
        attention.further = &*next_memory;
        attention.begin = next_previous;
        attention.count = seen;
      }
      if (by_keys && i > 0) {
        attention.former = &passed[i - 1];
        attention.last = c;
      }
      const auto time = model.time_conditioning(at::full({1}, schedule.timesteps[age]));
      at::Tensor hidden = model.embed(at::cat({input, input}));
      model.forward_layers({0, kLayers}, hidden, time, texts[second(age)], model.rotary().table(grid, 0, at::kCPU),
                           attention);
      const at::Tensor both = model.head(hidden, time, grid).slice(2, previous, previous + at_start[i].size(2));
      const double scale = second(age) ? *request.guidance_scale_2 : request.guidance_scale;
      const at::Tensor prediction = both[1] + scale * (both[0] - both[1]);
      latents[i] = samplers[i]->step(prediction.unsqueeze(0), at_start[i]);
      next_memory = attention.own;
      for (auto* kept : {&attention.own.keys, &attention.own.values})
        for (auto& [layer, x] : *kept)
          x = x.slice(1, previous * grid.frame_tokens(), (previous + at_start[i].size(2)) * grid.frame_tokens());
      last_pass[i] = attention.own;
      next_previous = previous;
    }
    for (int64_t i = 0; i < blocks; ++i)
      if (i <= iteration && iteration - i < steps) one_update_ago[i] = at_start[i];
  }
  return at::cat(latents, 2);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(dualparal_strategy_on_ranks)

BOOST_DATA_TEST_CASE(same_latents_on_any_number_of_ranks, data::make(kVariants) * data::make({2, 3, 4, 8}), variant,
                     ranks) {
  const Request request = ranks_request(variant.frames);
  const at::Tensor alone = denoise_on_ranks(dualparal_strategy(), options_of(variant), request, 1, kConfig);
  const at::Tensor split = denoise_on_ranks(dualparal_strategy(), options_of(variant), request, ranks, kConfig);
  BOOST_TEST(alone.size(2) == variant.frames);
  BOOST_TEST(identical(split, alone));
}

BOOST_DATA_TEST_CASE(equals_a_plain_loop, data::make(kVariants), variant) {
  const Request request = ranks_request(variant.frames);
  const auto entry = dualparal_strategy();
  const at::Tensor noise =
      entry.make(resolve_options("dualparal", entry.options, options_of(variant)))->initial_noise(request);
  const at::Tensor actual = denoise_on_ranks(entry, options_of(variant), request, 1, kConfig);
  BOOST_TEST(relative_error(actual, plain_loop(request, variant, noise)) < 1e-4);
}

BOOST_DATA_TEST_CASE(two_experts_equal_a_plain_loop, data::make(kExpertVariants) * data::make({1, 3}), variant, ranks) {
  const Request request = experts_request(variant.frames);
  const auto entry = dualparal_strategy();
  const at::Tensor noise =
      entry.make(resolve_options("dualparal", entry.options, options_of(variant)))->initial_noise(request);
  const at::Tensor actual = denoise_on_ranks(entry, options_of(variant), request, ranks, kConfig);
  BOOST_TEST(relative_error(actual, plain_loop(request, variant, noise)) < 1e-4);
}

BOOST_AUTO_TEST_CASE(what_is_seen_across_the_boundary_matters) {
  const Request request = experts_request(13);
  const auto run = [&](const char* boundary) {
    return denoise_on_ranks(dualparal_strategy(), options_of({"on", "on", "synchronous", 2, 13, boundary}), request, 1,
                            kConfig);
  };
  BOOST_TEST(relative_error(run("none"), run("recompute")) > 1e-4);
  BOOST_TEST(relative_error(run("mixed"), run("recompute")) > 1e-4);
}

BOOST_DATA_TEST_CASE(any_number_of_frames, data::make({81, 85, 301, 513, 1025}), frames) {
  const Request request = ranks_request((frames - 1 + 3) / 4 + 1, 2);
  const OptionValues options{{"block-frames", "8"}, {"context-frames", "4"}};
  const auto run = [&](int64_t ranks) {
    return denoise_on_ranks(dualparal_strategy(), options, request, ranks, with_layers(3));
  };
  const at::Tensor alone = run(1);
  BOOST_TEST(alone.size(2) == request.latent_frames);
  BOOST_TEST(identical(run(3), alone));
}

BOOST_DATA_TEST_CASE(micro_batches_change_nothing, data::make({1, 2, 3, 4, 8}), ranks) {
  const Request request = ranks_request(13);
  const at::Tensor whole = denoise_on_ranks(dualparal_strategy(), options_of(kVariants[0]), request, 1, kConfig);
  const at::Tensor halves =
      denoise_on_ranks(dualparal_strategy(), options_of(kVariants[0], "2"), request, ranks, kConfig);
  BOOST_TEST(relative_error(halves, whole) < 1e-5);
}

BOOST_DATA_TEST_CASE(delays_change_nothing, data::make({1, 2}), seed) {
  const Request request = ranks_request(13);
  const at::Tensor alone = denoise_on_ranks(dualparal_strategy(), options_of(kVariants[0]), request, 1, kConfig);
  const at::Tensor late =
      denoise_on_ranks(dualparal_strategy(), options_of(kVariants[0]), request, 3, kConfig, at::kFloat, seed);
  BOOST_TEST(identical(late, alone));
}

BOOST_DATA_TEST_CASE(bf16_agrees_on_ranks, data::make({2, 3, 4, 8}), ranks) {
  const Request request = ranks_request(13);
  const auto run = [&](int64_t ranks) {
    return denoise_on_ranks(dualparal_strategy(), options_of(kVariants[0]), request, ranks, kConfig, at::kBFloat16);
  };
  BOOST_TEST(relative_error(run(ranks), run(1)) < 2e-2);
}

BOOST_DATA_TEST_CASE(one_block_equals_single, data::make({1, 2, 3, 4, 8}), ranks) {
  Request request = ranks_request(4);
  request.initial_noise = randn({1, 16, 4, 4, 6}, 9);
  const at::Tensor expected = denoise_on_ranks(single_strategy(), {}, request, 1, kConfig);
  const at::Tensor actual =
      denoise_on_ranks(dualparal_strategy(), {{"block-frames", "4"}, {"context-frames", "2"}}, request, ranks, kConfig);
  BOOST_TEST(relative_error(actual, expected) < 1e-5);
}

BOOST_DATA_TEST_CASE(cached_previous_context_in_micro_batches, data::make({1, 3}), ranks) {
  const Variant variant{"on", "on", "matched_kv", 2, 13};
  const Request request = ranks_request(13);
  const at::Tensor whole = denoise_on_ranks(dualparal_strategy(), options_of(variant), request, 1, kConfig);
  const at::Tensor halves = denoise_on_ranks(dualparal_strategy(), options_of(variant, "2"), request, ranks, kConfig);
  BOOST_TEST(relative_error(halves, whole) < 1e-5);
}

BOOST_AUTO_TEST_CASE(cached_previous_context_is_another_variant) {
  // Else the comparisons above would hold for a program that does not know the difference.
  const Request request = ranks_request(13);
  const auto run = [&](const char* previous) {
    return denoise_on_ranks(dualparal_strategy(), options_of({"on", "on", previous, 2, 13}), request, 1, kConfig);
  };
  BOOST_TEST(relative_error(run("matched_kv"), run("matched")) > 1e-4);
}

// Positions written out for blocks of 5, 3, 3 and 2 frames: first block 3 + 2 frames of context.
BOOST_AUTO_TEST_CASE(positions_are_those_of_the_window_or_of_the_video) {
  const auto blocks = make_blocks(13, 3, 2);
  const auto first = [&](WindowPosition position, PreviousContext previous, int64_t block) {
    return position_offset(blocks, {block, block, 0}, {2, true, previous, position});
  };
  for (const auto previous :
       {PreviousContext::kSynchronous, PreviousContext::kMatched, PreviousContext::kMatchedKeyValues}) {
    const int64_t absolute[] = {0, 3, 6, 9};
    for (int64_t block = 0; block < 4; ++block) {
      BOOST_TEST(first(WindowPosition::kLocal, previous, block) == 0);
      BOOST_TEST(first(WindowPosition::kShifted, previous, block) == (block > 0 ? 1 : 0));
      BOOST_TEST(first(WindowPosition::kAbsolute, previous, block) == absolute[block]);
    }
  }
}

// Only distances enter self-attention: a window that is counted from elsewhere, with all that is cached for it, gives
// the same, and frames that were left behind would show.
BOOST_DATA_TEST_CASE(counting_from_elsewhere_changes_rounding_alone,
                     data::make(kVariants) * data::make({"shifted", "absolute"}), variant, position) {
  const Request request = ranks_request(variant.frames);
  auto options = options_of(variant);
  const at::Tensor local = denoise_on_ranks(dualparal_strategy(), options, request, 1, kConfig);
  options["window-position"] = "local";
  BOOST_TEST(identical(denoise_on_ranks(dualparal_strategy(), options, request, 1, kConfig), local));
  options["window-position"] = position;
  const at::Tensor other = denoise_on_ranks(dualparal_strategy(), options, request, 1, kConfig);
  BOOST_TEST(relative_error(other, local) < 1e-4);
  BOOST_TEST(identical(other, local) == (make_blocks(variant.frames, 3, variant.context).size() == 1));
  BOOST_TEST(identical(denoise_on_ranks(dualparal_strategy(), options, request, 3, kConfig), other));
  const at::Tensor noise = dualparal_strategy()
                               .make(resolve_options("dualparal", dualparal_strategy().options, options))
                               ->initial_noise(request);
  BOOST_TEST(relative_error(other, plain_loop(request, variant, noise)) < 1e-4);
}

BOOST_AUTO_TEST_CASE(positions_past_the_model_s_are_refused_before_the_run) {
  auto config = kConfig;
  config.rope_max_seq_len = 16;
  expect_error<UsageError>({"--window-position absolute", "17 latent frames", "rope_max_seq_len = 16"}, [&] {
    plan_of(dualparal_strategy(), {{"window-position", "absolute"}}, ranks_request(17), 2, config);
  });
  BOOST_CHECK_NO_THROW(plan_of(dualparal_strategy(), {}, ranks_request(17), 2, config));
}

BOOST_AUTO_TEST_CASE(context_longer_than_a_block_is_refused) {
  const auto entry = dualparal_strategy();
  expect_error<UsageError>({"--context-frames", "--block-frames"}, [&] {
    entry.make(resolve_options("dualparal", entry.options, {{"block-frames", "2"}, {"context-frames", "3"}}));
  });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dualparal::testing
