// SPDX-License-Identifier: Apache-2.0
// Several ranks as threads of the test, over real Gloo connections.
#pragma once

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <atomic>
#include <exception>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include "comm/gloo_communicator.h"
#include "strategy/denoise/noise.h"
#include "strategy/strategy.h"
#include "tests/model/tiny.h"

namespace dualparal::testing {

inline Request ranks_request(int64_t latent_frames, int64_t steps = 4, double guidance_scale = 3.0) {
  Request request;
  request.latent_frames = latent_frames;
  request.latent_height = 4;
  request.latent_width = 6;
  request.num_inference_steps = steps;
  request.guidance_scale = guidance_scale;
  request.prompt_embeds = randn({1, 7, 24}, 1);
  request.negative_prompt_embeds = randn({1, 7, 24}, 2);
  request.seed = 5;
  return request;
}

/// ... of a model of two experts, of which the second takes over about half way, with a guidance scale of its own.
inline Request experts_request(int64_t latent_frames, int64_t steps = 4) {
  Request request = ranks_request(latent_frames, steps);
  const Schedule schedule = make_schedule(request.sampler, request.scheduler, steps);
  request.boundary_timestep = schedule.timesteps[steps / 2 - 1];  // the last of the first expert
  request.guidance_scale_2 = 1.5;
  return request;
}

/// ... of several prompts, of which others begin with these latent frames.
inline Request prompts_request(int64_t latent_frames, const std::vector<int64_t>& begins, int64_t steps = 4) {
  Request request = ranks_request(latent_frames, steps);
  for (const int64_t frame : begins)
    request.later_prompts.push_back({frame, randn({1, 7, 24}, 100 + static_cast<uint64_t>(frame))});
  return request;
}

/// The same request with one prompt: that of a block whose first own frame this is.
inline Request with_prompt_of(Request request, int64_t frame) {
  for (const LaterPrompt& later : request.later_prompts)
    if (later.first_frame <= frame) request.prompt_embeds = later.embeds;
  request.later_prompts.clear();
  return request;
}

/// Waits a random moment before every message: nothing may depend on timing.
class SlowCommunicator final : public Communicator {
 public:
  SlowCommunicator(std::unique_ptr<Communicator> inner, uint64_t seed) : inner_(std::move(inner)), random_(seed) {}
  int64_t rank() const override { return inner_->rank(); }
  int64_t world_size() const override { return inner_->world_size(); }
  void connect(const std::vector<Link>& links) override { inner_->connect(links); }
  std::unique_ptr<Transfer> send(const at::Tensor& tensor, int64_t to, Channel channel) override {
    std::this_thread::sleep_for(std::chrono::microseconds(random_() % 4000));
    return inner_->send(tensor, to, channel);
  }
  std::unique_ptr<Transfer> receive(const at::Tensor& target, int64_t from, Channel channel) override {
    std::this_thread::sleep_for(std::chrono::microseconds(random_() % 4000));
    return inner_->receive(target, from, channel);
  }
  void broadcast(at::Tensor& tensor) override { inner_->broadcast(tensor); }
  void barrier() override { inner_->barrier(); }
  std::vector<std::string> gather(const std::string& text) override { return inner_->gather(text); }
  std::vector<std::string> gather_patiently(const std::string& text) override { return inner_->gather_patiently(text); }

 private:
  std::unique_ptr<Communicator> inner_;
  std::mt19937_64 random_;
};

/// Refuses messages over links that were not announced: a communicator with connections could not carry them.
class StrictCommunicator final : public Communicator {
 public:
  explicit StrictCommunicator(std::unique_ptr<Communicator> inner) : inner_(std::move(inner)) {}
  int64_t rank() const override { return inner_->rank(); }
  int64_t world_size() const override { return inner_->world_size(); }
  void connect(const std::vector<Link>& links) override {
    for (const Link& link : links) {
      check(link.from != link.to && std::max(link.from, link.to) < world_size(), "a link from rank {} to rank {} of {}",
            link.from, link.to, world_size());
      links_.insert(link);
    }
    inner_->connect(links);
  }
  std::unique_ptr<Transfer> send(const at::Tensor& tensor, int64_t to, Channel channel) override {
    expect({rank(), to, channel});
    return inner_->send(tensor, to, channel);
  }
  std::unique_ptr<Transfer> receive(const at::Tensor& target, int64_t from, Channel channel) override {
    expect({from, rank(), channel});
    return inner_->receive(target, from, channel);
  }
  void broadcast(at::Tensor& tensor) override { inner_->broadcast(tensor); }
  void barrier() override { inner_->barrier(); }
  std::vector<std::string> gather(const std::string& text) override { return inner_->gather(text); }
  std::vector<std::string> gather_patiently(const std::string& text) override { return inner_->gather_patiently(text); }

 private:
  void expect(const Link& link) const {
    check(links_.contains(link), "a message from rank {} to rank {} over a link that was not announced", link.from,
          link.to);
  }
  std::unique_ptr<Communicator> inner_;
  std::set<Link> links_;
};

inline TransformerConfig with_layers(int64_t layers) {
  auto config = tiny_transformer();
  config.num_layers = layers;
  return config;
}

/// What a strategy with these options plans, for so many videos one behind the other.
inline StrategyPlan plan_of(const StrategyEntry& entry, const OptionValues& given, const Request& request,
                            int64_t world_size, const TransformerConfig& config = tiny_transformer(),
                            int64_t videos = 1) {
  Workload work = workload(request, config, 4, world_size);
  work.videos = videos;
  return entry.make(resolve_options(entry.name, entry.options, given))->plan(work);
}

/// Its cost, with hidden states of 4 bytes a number.
inline AnalyticCost cost_of(const StrategyEntry& entry, const OptionValues& given, const Request& request,
                            int64_t world_size, const TransformerConfig& config) {
  return analytic_cost(plan_of(entry, given, request, world_size, config), workload(request, config, 4, world_size));
}

/// Snapshots of a rank, if they are kept; must not be null.
using RankSnapshots = std::function<Snapshots*(int64_t rank)>;

/// A strategy on `world_size` ranks, rank 0 with this sink. sent_bytes: what all ranks sent, if asked for. following:
/// the videos behind that of the request.
inline void denoise_into(
    LatentsSink& sink, const StrategyEntry& entry, const OptionValues& given, const Request& request,
    int64_t world_size, const TransformerConfig& config, at::ScalarType dtype = at::kFloat, uint64_t delays = 0,
    int64_t* sent_bytes = nullptr, const RankSnapshots& snapshots = [](int64_t) { return &no_snapshots(); },
    const std::vector<Request>& following = {}) {
  const OptionValues options = resolve_options(entry.name, entry.options, given);
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::atomic<int64_t> sent = 0;
  std::vector<std::exception_ptr> failures(world_size);
  std::vector<std::thread> ranks;
  for (int64_t rank = 0; rank < world_size; ++rank)
    ranks.emplace_back([&, rank] {
      try {
        const c10::InferenceMode inference;
        at::set_num_threads(1);
        std::unique_ptr<Communicator> comm = lone_communicator();
        if (world_size > 1)
          comm = gloo_communicator(store, {rank, world_size, std::chrono::seconds(60), /*loopback=*/true});
        comm = std::make_unique<StrictCommunicator>(std::move(comm));
        if (delays) comm = std::make_unique<SlowCommunicator>(std::move(comm), delays + rank);
        const auto strategy = entry.make(options);
        LargeWeights weights(dtype);
        const StrategyPlan plan =
            plan_of(entry, given, request, world_size, config, 1 + static_cast<int64_t>(following.size()));
        const Transformer transformer(config, weights, plan.parts.at(rank));
        std::optional<Transformer> second;
        if (request.experts() == 2) {
          LargeWeights others = second_weights(dtype);
          second.emplace(config, others, plan.parts.at(rank));
        }
        const Experts experts = second ? Experts(transformer, *second) : Experts(transformer);
        Recorder recorder(at::kCPU);
        NullSink none;
        comm->connect(plan.links());
        try {
          strategy->denoise({request, experts, *comm, recorder, rank == 0 ? sink : static_cast<LatentsSink&>(none),
                             [](int64_t, int64_t) {}, *snapshots(rank), kReceiveAhead, following});
          snapshots(rank)->ended();
        } catch (const RunStopped&) {
          failures[rank] = std::current_exception();
        }
        comm->barrier();
        for (const Event& event : recorder.events())
          if (event.kind == Event::Kind::kSend) sent += event.bytes;
      } catch (...) {
        failures[rank] = std::current_exception();
      }
    });
  for (auto& rank : ranks) rank.join();
  for (const auto& failure : failures)
    if (failure) std::rethrow_exception(failure);
  if (sent_bytes) *sent_bytes = sent;
}

/// Its latents.
inline at::Tensor denoise_on_ranks(const StrategyEntry& entry, const OptionValues& given, const Request& request,
                                   int64_t world_size, const TransformerConfig& config,
                                   at::ScalarType dtype = at::kFloat, uint64_t delays = 0,
                                   int64_t* sent_bytes = nullptr) {
  CollectingSink sink;
  denoise_into(sink, entry, given, request, world_size, config, dtype, delays, sent_bytes);
  return sink.latents();
}

}  // namespace dualparal::testing
