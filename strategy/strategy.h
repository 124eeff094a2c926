// SPDX-License-Identifier: Apache-2.0
// A strategy: which layers a rank holds, which tokens it processes, what its self-attention sees. Timing, files,
// warm-up and checks belong to the harness.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/recorder.h"
#include "strategy/denoise/experts.h"
#include "strategy/denoise/latents_sink.h"
#include "strategy/denoise/request.h"
#include "strategy/options.h"
#include "strategy/plan.h"
#include "strategy/snapshot/snapshots.h"

namespace dualparal {

/// Double buffering.
constexpr size_t kReceiveAhead = 2;

/// What a strategy is given to denoise with.
struct DenoiseContext {
  const Request& request;  ///< what is to be generated
  Experts transformer;     ///< the parts of this rank's plan
  Communicator& comm;      ///< with the other ranks
  Recorder& recorder;      ///< notes what this rank does
  LatentsSink& sink;       ///< takes finished latents, in frame order, from the rank that finishes them
  /// Progress: units of work done (of `total`), for instance denoising steps. Called on every rank.
  std::function<void(int64_t done, int64_t total)> progress = [](int64_t, int64_t) {};
  Snapshots& snapshots = no_snapshots();  ///< keep its state, and say what a resumed run goes on from
  /// Messages that a stage of a pipeline may be receiving while it computes, where jobs do not wait for each other.
  size_t receive_ahead = kReceiveAhead;
  /// Videos to be made behind that of `request`: of the same size, steps and guidance, each with its own prompt, seed
  /// and noise. Their latents come one video after the other. Only of strategies that queue videos.
  std::span<const Request> following = {};
};

class Strategy {
 public:
  virtual ~Strategy() = default;
  /// What it will do. UsageError, or Error, if the strategy cannot run like this.
  virtual StrategyPlan plan(const Workload& work) const = 0;
  /// Takes memory that is slow to take, for the denoise() of this rank that follows: before the clock starts, and
  /// before ranks are connected, since while a rank waits for another a GPU may give none. `context` is denoise()'s,
  /// but for the other ranks and the sink, which are not used. Until a strategy says otherwise, there is none.
  virtual void prepare(const DenoiseContext& context) {}
  /// Denoises the whole video, as planned.
  virtual void denoise(const DenoiseContext& context) = 0;
  /// UsageError if no snapshots can be kept of such a run, with the reason. kept_ranks: of the run that it resumes;
  /// none: it does not. Until a strategy says otherwise, it keeps none.
  virtual void check_snapshots(const Workload& work, std::optional<int64_t> kept_ranks) const;
  /// Initial noise of every latent frame, in frame order: [1, channels, frames, h, w].
  virtual at::Tensor initial_noise(const Request& request) const;
};

/// What of a video can have a prompt of its own: the video alone; a block, clip or window, whose first frames are
/// StrategyPlan::block_starts; or what goes through the transformer at a time, wherever in the video that is then.
enum class PromptScope { kVideo, kBlock, kWindow };

/// What of a run is alike from one to the next, so that a trace needs it once (harness/shorten): steps of the whole
/// video, iterations of a queue of frames, or those of a queue of blocks (dualparal/block_plan.h).
enum class Repeats { kNothing, kSteps, kIterations, kQueue };

/// A row of the table of strategies (harness/options/strategies.cpp).
struct StrategyEntry {
  std::string name;
  std::string description;  ///< one line
  std::vector<OptionSpec> options;
  std::function<std::unique_ptr<Strategy>(const OptionValues&)> make;  ///< from resolve_options()' values
  bool exact = false;                                                  ///< gives what `single` gives, up to rounding
  bool whole_sequence = false;  ///< every window is the whole video: sparse attention and RIFLEx apply
  bool streams_blocks = false;  ///< finishes latents while others are still being denoised
  PromptScope prompts = PromptScope::kVideo;
  /// Takes several videos (Workload::videos), and begins the next while the one before is still being denoised.
  bool queues_videos = false;
  Repeats repeats = Repeats::kNothing;
};

/// The row of a strategy whose options are `Options`: a struct of fields with their defaults, which declare(OptionSet&)
/// ties to flags. make: Options -> std::unique_ptr<Strategy>.
template <class Options, class Make>
StrategyEntry strategy_entry(std::string name, std::string description, const Options& defaults, Make make) {
  Options declared = defaults;
  OptionSet set;
  declared.declare(set);
  return {std::move(name), std::move(description), set.specs(),
          [defaults, make](const OptionValues& values) -> std::unique_ptr<Strategy> {
            Options options = defaults;
            OptionSet fields;
            options.declare(fields);
            fields.assign(values);
            return make(options);
          }};
}

/// The row of a strategy without options.
template <class Make>
StrategyEntry strategy_entry(std::string name, std::string description, Make make) {
  return {std::move(name), std::move(description), {}, [make](const OptionValues&) -> std::unique_ptr<Strategy> {
            return make();
          }};
}

}  // namespace dualparal
