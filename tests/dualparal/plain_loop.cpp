// SPDX-License-Identifier: Apache-2.0
#include "tests/dualparal/plain_loop.h"

#include "model/ops/ops.h"
#include "strategy/denoise/guidance.h"

namespace dualparal::testing {
namespace {

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

}  // namespace

at::Tensor plain_loop(const Request& request, const Variant& v, const at::Tensor& noise) {
  auto config = tiny_transformer();
  config.num_layers = kLayers;
  if (request.condition.defined()) config.in_channels += request.condition.size(1);
  LargeWeights weights;
  LargeWeights others = second_weights();
  const Transformer experts[] = {{config, weights, {{0, kLayers}, true, true}},
                                 {config, others, {{0, kLayers}, true, true}}};
  const Schedule schedule = make_schedule(request.sampler, request.scheduler, request.num_inference_steps);
  const int64_t steps = schedule.steps(), c = v.context, total = request.latent_frames;

  std::vector<at::Tensor> latents;  // of every block, newest
  std::vector<int64_t> begins;
  for (int64_t begin = 0; begin < total;) {
    const int64_t end = std::min(total, begin + 3 + (begin == 0 ? c : 0));
    latents.push_back(noise.slice(2, begin, end));
    begins.push_back(begin);
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
      at::Tensor input = at::cat(window, 2);
      if (request.condition.defined()) {  // of the same frames of the video
        const int64_t first = begins[i] - previous;
        input = at::cat({input, request.condition.slice(2, first, first + input.size(2))}, 1);
      }
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
      std::vector<double> timesteps{schedule.timesteps[age]};
      if (i == 0 && request.first_frame.defined()) {  // in no other block's window: it is longer than the context
        timesteps = std::vector<double>(static_cast<size_t>(input.size(2)), schedule.timesteps[age]);
        timesteps[0] = 0;
        input = at::cat({request.first_frame, input.slice(2, 1)}, 2);
      }
      const auto time = model.time_conditioning(at::tensor(timesteps, at::kFloat));
      at::Tensor hidden = model.embed(at::cat({input, input}));
      const TextContext text = model.text_context(guidance_batch(with_prompt_of(request, begins[i])));
      model.forward_layers({0, kLayers}, hidden, time, text, model.rotary().table(grid, 0, at::kCPU), attention);
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

}  // namespace dualparal::testing
