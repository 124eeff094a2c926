// SPDX-License-Identifier: Apache-2.0
// A strategy: which layers a rank holds, which tokens it processes, what its self-attention sees. Timing, files,
// warm-up and checks belong to the harness.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/recorder.h"
#include "model/wan/transformer.h"
#include "strategy/cost.h"
#include "strategy/denoise/latents_sink.h"
#include "strategy/denoise/request.h"
#include "strategy/options.h"
#include "strategy/parallel/slots.h"

namespace dualparal {

/// This process's place among the ranks.
struct RankInfo {
  int64_t rank = 0;
  int64_t world_size = 1;
};

/// What a strategy may use while it denoises.
struct DenoiseContext {
  const Transformer& transformer;  ///< holds the parts that the strategy asked for
  Communicator& comm;              ///< with the other ranks
  Recorder& recorder;              ///< notes what this rank does
  /// Progress: units of work done (of `total`), for instance denoising steps. Called on every rank.
  std::function<void(int64_t done, int64_t total)> progress = [](int64_t, int64_t) {};
};

class Strategy {
 public:
  virtual ~Strategy() = default;
  /// What this rank holds. Throws UsageError if the strategy cannot run like this.
  virtual TransformerParts parts(const TransformerConfig& config, const RankInfo& rank) const = 0;
  /// Denoises the whole video. The rank that finishes latents hands them to `sink`, in frame order.
  virtual void denoise(const Request& request, const DenoiseContext& context, LatentsSink& sink) = 0;
  /// Initial noise of every latent frame, in frame order: [1, channels, frames, h, w].
  virtual at::Tensor initial_noise(const Request& request) const;
  /// Latent frames at which blocks (or clips) begin, the first (0) left out; empty if the video is one piece.
  virtual std::vector<int64_t> block_starts(const Request&, int64_t /*world_size*/) const { return {}; }
  /// Its cost by formula.
  virtual AnalyticCost analytic_cost(const Request& request, const Workload& work, int64_t world_size) const = 0;
  /// Idle slots to expect of a pipeline of ranks; nothing if the strategy is none.
  virtual std::optional<SlotCount> slots(const Request&, int64_t /*world_size*/) const { return {}; }
  /// Every link that any rank sends over while denoising, in the same order on all ranks: Communicator::connect gets them
  /// before the clock starts, and none may be added later.
  virtual std::vector<Link> links(const Request&, int64_t /*world_size*/) const { return {}; }
};

/// A row of the table of strategies (harness/options/strategies.cpp).
struct StrategyEntry {
  std::string name;
  std::string description;  ///< one line
  std::vector<OptionSpec> options;
  std::function<std::unique_ptr<Strategy>(const OptionValues&)> make;
  bool streams_blocks = false;  ///< finishes latents while others are still being denoised
};

}  // namespace dualparal
